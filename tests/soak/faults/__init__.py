"""Faults: Remit on hosts of its own, while processes die, links break, clocks run wrong and disks fill.

`lane` runs everything in namespaces of one process, so that the kernel cleans up, whatever happens. `hosts` are the
machines and what is between them, `parties` what runs on them, `workload` who uses them and what each of them was told,
`nemesis` what goes wrong and when, `checker` whether the laws held: pure functions over what all parties wrote down.
"""
