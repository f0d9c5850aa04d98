"""The contract between optimizers and the harness, `step(objective)`, and what authors of optimizers need for it.

It stands alone: importing it loads torch and nothing else of the harness.
"""
