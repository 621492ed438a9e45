"""The main job, ``python -m rnnfast``: prove.py checks every kernel against the reference, race.py times them against the
NumPy loop (loop.py) and the peers that are installed (contenders.py), report.py prints both."""
