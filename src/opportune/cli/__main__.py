"""``python -m opportune.cli``"""

from opportune.cli import main

main()
