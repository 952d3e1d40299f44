"""Read memory, disks and logs through devices."""


def attack():
    for name in ("mem", "kmem", "kmsg", "sda", "vda", "nvme0n1", "fuse", "kvm", "tty", "ptmx", "nvidia0"):
        try:
            with open(f"/dev/{name}", "rb"):
                return True
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
