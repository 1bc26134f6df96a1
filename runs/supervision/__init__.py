"""How a worker comes by its runs and answers for them: through the database, or over HTTP where it has none.

`base.Supervision` says what a worker asks; each kind is one module, and one suite of tests holds for all of them.
"""
