"""What the sources share: their base, programs, resources, timestamps."""
