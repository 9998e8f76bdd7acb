#!/usr/bin/env python3
"""Reads integers of 4 bytes from named pipes and appends each as a line of text to a file. It needs nothing of FISSION."""

import argparse
import struct
import sys

INTEGER = struct.Struct("<i")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", dest="inputs", action="append", required=True, metavar="PATH", help="a named pipe to read from")
    parser.add_argument("--file", default="integers.txt", help="the file to append to")
    arguments = parser.parse_args()
    if len(arguments.inputs) != 1:
        parser.error("one input is all that this program can read")
    with open(arguments.inputs[0], "rb") as pipe, open(arguments.file, "a") as file:
        # read() waits until it has all bytes or the pipe's other end is closed, which is the end of the input.
        while data := pipe.read(INTEGER.size):
            if len(data) < INTEGER.size:
                sys.exit(f"the input ended within an integer: {len(data)} of {INTEGER.size} bytes")
            (value,) = INTEGER.unpack(data)
            print(value, file=file, flush=True)
            print(f"appended {value}", flush=True)


if __name__ == "__main__":
    main()
