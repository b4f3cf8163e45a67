"""The loop replayed: a practice company in closed loop for years, under policies side by side.

``runs`` lives through the months of one replay with the engine's own steps, ``policies`` says what each
policy does without, ``scenarios`` what happens to the company, ``measures`` what is true of decisions;
``pool`` runs many replays at once, and ``report`` writes what came out.
"""
