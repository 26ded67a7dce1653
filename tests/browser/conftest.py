"""What these tests need is installed by `make browser`; without it they are left out."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("selenium") and find_spec("nbclient") else ["test_*.py"]
