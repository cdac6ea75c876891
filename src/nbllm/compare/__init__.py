"""Which model is better, and how sure that is: a grid of questions, asked once each, scored, judged, and counted."""
