"""Sets wrong values as heads."""

from fission.core.jobs import Head, PythonJob


class HeadIsText(PythonJob):
    HEAD = True

    def run(self, value):
        self.head = "finished"
        return value


class HeadIsTooLarge(PythonJob):
    HEAD = True

    def run(self, value):
        self.out_heads[0] = Head(1, 2)
        return value


class HeadsAreTooFew(PythonJob):
    HEAD = True

    def run(self, value):
        self.out_heads = []
        return value
