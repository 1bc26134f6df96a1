"""The drill: the real parts under fire, and whether anything was lost, doubled, stuck or overshot.

`project` is copied into a throw-away folder and run by workers; its flows write down what they do, apart from the
engine. `parts` and `services` are the processes that are started and killed, `disks` the disk that is filled, `faults`
what is done to them, `pushing` where the runs come from. `evidence` reads what the flows wrote, `invariants` compares
it with the database, and `drill` has the order of it all.
"""
