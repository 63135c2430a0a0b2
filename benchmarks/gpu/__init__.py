"""What a GPU gives: agreement with the CPU, the tree table, photographs with ResNet-18, NT-Xent.

`python -m benchmarks.gpu` runs four parts, each in a process and a time of its own, and writes one JSON.
`--rehearse` runs the same lines on the CPU in tiny sizes.
"""
