"""How real processes reach the driver: seccomp user notification, answered from this process."""
