"""What processes of FISSION say to each other: typed, frozen messages, one file per direction, and one strict codec for all."""
