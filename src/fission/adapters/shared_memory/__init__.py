"""Large buffers in memory that the jobs of one machine share: copied once, then only descriptors
travel.

`arena` is the producer's side, `views` the consumer's, `segments` the files between them. The
layout of the memory is in `fission.protocol.shared_blocks`.
"""
