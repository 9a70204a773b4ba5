"""The parts of check_gpu.py and pack_gpu.py, one job a file.

| question | file |
|---|---|
| what is found, and where is it written after every line? | findings.py |
| how long may a step take? | clock.py |
| how is the binary run, how busy is the card? | runs.py, card.py |
| what is said where a GPU does not compute? | trouble.py; in a process of its own: loading.py |
| which reviews, and which models? | reviews.py, models.py |
| what is it compared with? | rivals.py; in a process of its own: rival_process.py |
| the steps, by worth | vectors.py, rates.py, whole.py, plans.py, operators.py, memory.py, ready.py, training.py |
| what holds the card's memory meanwhile? | ballast.py, a process |
| how does all of it get to a machine without network? | pack.py, half.py; there: unpack.py |

The standard library is enough for all but rival_process.py.
"""
