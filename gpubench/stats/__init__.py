"""The statistics of one series of step times, used while it is measured and when it is analysed.

Nothing here knows about launches, cases or runs. Times are seconds per step of timed groups, in the order measured.
numpy and scipy are imported when first used, so that a command that measures nothing never pays for them.
"""
