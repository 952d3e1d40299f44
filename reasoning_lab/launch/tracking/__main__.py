"""Repeat a finished run's log to a dashboard."""

from reasoning_lab.launch.tracking.mirror import main

if __name__ == "__main__":
    main()
