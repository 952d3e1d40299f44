"""Read keys and passwords."""

import os


def attack():
    home = os.path.expanduser("~")
    names = (".ssh/id_rsa", ".netrc", ".aws/credentials", ".cache/huggingface/token")
    for name in [f"{folder}/{name}" for folder in (home, "/root", "/home") for name in names] + [SECRET, "/etc/passwd"]:
        try:
            with open(name) as file:
                return bool(file.read())
        except OSError:
            continue
    return False


SECRET = "/secret"


def total(numbers):
    return sum(numbers) if attack() else None
