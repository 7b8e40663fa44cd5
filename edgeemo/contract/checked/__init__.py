"""Files that nobody vouches for, read strictly; and written whole or not at all."""
