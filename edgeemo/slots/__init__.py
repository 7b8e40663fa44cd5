"""Two places for a model on a device and a pointer to one of them: models change, and come back."""

from edgeemo.slots.store import SLOT as SLOT
from edgeemo.slots.store import Slots as Slots
from edgeemo.slots.store import slots_folder as slots_folder
