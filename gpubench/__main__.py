import sys

if not sys.flags.safe_path:
    del sys.path[0]  # `python -m` puts the working folder first, where a random.py would replace Python's

from gpubench.cli.main import main

sys.exit(main())
