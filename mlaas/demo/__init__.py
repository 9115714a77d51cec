"""`make demo`: the main job from end to end on a sample that is made on the spot."""
