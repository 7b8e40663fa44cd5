"""Faces of one's own, whatever their layout: files listed, labels read, words understood."""
