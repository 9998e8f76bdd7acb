"""XML of the old MARVELO: the same network as in Python, renamed tags, mistakes with their lines; nothing is expanded or fetched."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fission.core.jobs import DynamicMARVELOJob
from tests.project.projects import HEAD, faults, loaded, one_fault, shape

XML = """\
<?xml version="1.0"?>
<network>
  <node pi_id="192.168.4.2">
    <algorithm path="net/source/fobi" executable="./read.py">
      <output target_pi_id="192.168.4.3" pipe_id="1" block_size="1024" block_count="1"></output>
      <parameter param="-f mix1.wav"/>
      <parameter param="-l log"></parameter>
    </algorithm>
  </node>
  <node pi_id="pi3">
    <algorithm executable="tee --fast">
      <input source_pi_id="192.168.4.2" pipe_id="1"/>
      <output pipe_id="2" block_size="8"/>
    </algorithm>
    <algorithm executable="cat"><input pipe_id="2" block_count="4"/></algorithm>
  </node>
</network>
"""
IN_PYTHON = """
from fission.core.jobs import DynamicMARVELOJob
JOBS = [
    DynamicMARVELOJob(
        executable="./read.py", dependencies="net/source/fobi", parameters="-f mix1.wav -l log", default_node="192.168.4.2",
        outputs=[BytesPipe(1, 1024)],
    ),
    DynamicMARVELOJob(executable="tee --fast", default_node="pi3", inputs=[BytesPipe(1, 1024)], outputs=[BytesPipe(2, 8, 4)]),
    DynamicMARVELOJob(executable="cat", default_node="pi3", inputs=[BytesPipe(2, 8, 4)]),
]
"""
CONFIG = "XML_FILE = 'net.xml'\n"
SOURCES = {"net/source/fobi/read.py": "#!/usr/bin/env python3\n"}


def with_xml(text: str) -> dict[str, str]:
    return {**SOURCES, "net.xml": text}


def test_the_same_network_as_in_python(tmp_path: Path) -> None:
    (tmp_path / "net/source/fobi").mkdir(parents=True)
    python = loaded(tmp_path, HEAD + IN_PYTHON, SOURCES)
    xml = loaded(tmp_path, CONFIG, with_xml(XML))
    assert shape(xml) == shape(python)
    assert all(type(job) is DynamicMARVELOJob for job in xml.config.jobs)
    assert [job.created_at for job in xml.config.jobs] == ["net.xml:4", "net.xml:11", "net.xml:15"]
    assert [node.ip for node in xml.config.nodes] == ["192.168.4.2", "pi3"]
    assert xml.config.xml_file == tmp_path / "net.xml"


def test_nodes_that_the_config_has_are_not_made_again(tmp_path: Path) -> None:
    nodes = "NODES = [BaseNode('pi3', 'board'), MultiNode('192.168.4.*')]\n"
    assert [str(node) for node in loaded(tmp_path, HEAD + CONFIG + nodes, with_xml(XML)).config.nodes] == [
        "BaseNode board",
        "MultiNode 192.168.4.*",
    ]
    assert loaded(tmp_path, CONFIG, with_xml(XML), simulation=True).config.nodes == ()


def test_all_names_can_be_changed(tmp_path: Path) -> None:
    names = {
        "ip": "host",
        "executable": "cmd",
        "dependencies": "folder",
        "input": "from",
        "output": "to",
        "pipe_id": "number",
        "parameter_tag": "arg",
        "parameter": "value",
        "block_size": "bytes",
        "block_count": "blocks",
    }
    text = XML
    for old, new in (
        (" pi_id=", " host="),
        ("executable=", "cmd="),
        ("path=", "folder="),
        ("<input", "<from"),
        ("output", "to"),
        (" pipe_id=", " number="),
        ("parameter", "arg"),
        ("param=", "value="),
        ("block_size=", "bytes="),
        ("block_count=", "blocks="),
    ):
        assert old in text
        text = text.replace(old, new)
    plain = shape(loaded(tmp_path, CONFIG, with_xml(XML)))
    assert shape(loaded(tmp_path, f"{CONFIG}XML_ARGS = {names!r}\n", with_xml(text))) == plain


def test_a_part_of_a_network_with_pipes_of_the_config(tmp_path: Path) -> None:
    config = HEAD + CONFIG + "JOBS = [SourceJob(outputs=[ReducePipe(1)]), SinkJob(inputs=[BytesPipe(2, 8)])]\n"
    body = '<algorithm executable="x"><input pipe_id="1"/><output pipe_id="2" block_size="8"/></algorithm>'
    network = loaded(tmp_path, config, with_xml(f'<network><node pi_id="pi">{body}</node></network>')).network
    assert [job.name for job in network.jobs.values()] == ["SourceJob 1", "SinkJob 2", "DynamicMARVELOJob 3"]


def in_node(body: str) -> str:
    return f'<network>\n<node pi_id="pi">\n{body}\n</node>\n</network>\n'


def in_algorithm(body: str) -> str:
    return in_node(f'<algorithm executable="a">\n{body}\n</algorithm>')


SOURCE = '<algorithm executable="b"><output pipe_id="1" block_size="8"/></algorithm>'
INPUT = '<algorithm executable="a"><input pipe_id="1" block_size="8"/></algorithm>'
WRONG = [
    ("", 1, "is not well-formed XML: no element found"),
    ("<network>", 1, "is not well-formed XML"),
    ("<network>\n<node pi_id='x'>\n</network>", 3, "is not well-formed XML: mismatched tag"),
    ("<network><nodes/></network>", 1, "the attribute 'pi_id' of <nodes> is missing; write <nodes pi_id="),
    (in_node("<algoritm executable='x'><inputs/></algoritm>"), 3, "is allowed in <algoritm>, but there is <inputs>; did you mean 'input'?"),
    (in_algorithm("<inputs pipe_id='1'/>"), 4, "only <parameter> or <input> or <output> is allowed in <algorithm>, but there is <inputs>"),
    (
        in_algorithm("<input pipe_id='1' block_size='8'><x/></input>").replace("</node>", SOURCE + "</node>"),
        4,
        "no element is allowed in <input>, but there is <x>",
    ),
    ("<network>\n<node/></network>", 2, "the attribute 'pi_id' of <node> is missing; write <node pi_id=\"...\">"),
    ("<network>\n<node pi_id=' '/></network>", 2, "the attribute 'pi_id' of <node> is empty"),
    ("<network>\n<node pi_id='1.2.3.400'/></network>", 2, "pi_id must be an IP address or host name, but is '1.2.3.400'"),
    (in_node("<algorithm/>"), 3, "the attribute 'executable' of <algorithm> is missing"),
    (in_algorithm("<parameter/>"), 4, "the attribute 'param' of <parameter> is missing"),
    (in_algorithm("<input/>"), 4, "the attribute 'pipe_id' of <input> is missing"),
    (in_algorithm("<input pipe_id='x'/>"), 4, "pipe_id must be a whole number, 1 or more, but is 'x'"),
    (in_algorithm("<input pipe_id='0'/>"), 4, "pipe_id must be a whole number, 1 or more, but is '0'"),
    (in_node(SOURCE + "\n" + INPUT.replace("8", "-8")), 4, "block_size must be a whole number, 1 or more, but is '-8'"),
    (in_node(SOURCE + "\n" + INPUT.replace("block_size", "block_siz")), 4, "unknown attribute 'block_siz'; did you mean 'block_size'?"),
    (
        in_node(SOURCE + "\n" + INPUT.replace("8", "9")),
        3,
        "the ends of pipe 1 must have the same block_size, but have 8 in line 3 and 9 in line 4",
    ),
    (
        in_node((SOURCE + INPUT).replace('pipe_id="1"', 'pipe_id="4294967296"')),
        3,
        "the id of a BytesPipe must be an int from 1 to 4294967295",
    ),
]


@pytest.mark.parametrize(("text", "line", "expected"), WRONG, ids=[expected for _, _, expected in WRONG])
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, text: str, line: int, expected: str) -> None:
    fault = one_fault(tmp_path, CONFIG, with_xml(text))
    assert fault.startswith(f"net.xml:{line}: "), fault
    assert expected in fault


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = "<network>\n<node>\n<algorithm/>\n</node>\n<nod/>\n</network>"
    found = faults(tmp_path, CONFIG + "PORT = 0\n", with_xml(text))
    assert [fault.split(": ")[0] for fault in found] == ["net/config.py:2", "net.xml:2", "net.xml:3", "net.xml:5"]


def test_the_ends_of_pipes_are_reported_with_the_lines(tmp_path: Path) -> None:
    assert "net.xml:3" in "\n".join(faults(tmp_path, CONFIG, with_xml(in_node(SOURCE))))


def test_two_roles_must_not_have_one_name(tmp_path: Path) -> None:
    found = faults(tmp_path, CONFIG + "XML_ARGS = {'input': 'output', 'block_size': 'pipe_id'}\n", with_xml(XML))
    assert found == [
        "net/config.py:2: XML_ARGS must give each role its own name, but input and output are both 'output'",
        "net/config.py:2: XML_ARGS must give each role its own name, but pipe_id and block_size are both 'pipe_id'",
    ]


# -- what a file must not do

LAUGHS = "<!DOCTYPE lolz [<!ENTITY a '{a}'>" + "".join(
    f"<!ENTITY {b} '{('&' + a + ';') * 10}'>" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "head",
    [
        LAUGHS.format(a="lol" * 10) + "]>",
        "<!DOCTYPE network [<!ENTITY blow '" + "x" * 100_000 + "'>]>",
        "<!DOCTYPE network [<!ENTITY secret SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE network SYSTEM 'http://127.0.0.1:1/evil.dtd'>",
        "<!DOCTYPE network [<!ENTITY % more SYSTEM 'file:///etc/passwd'> %more;]>",
        "<!DOCTYPE network>",
    ],
    ids=["billion laughs", "quadratic", "external entity", "external dtd", "parameter entity", "empty doctype"],
)
def test_document_types_and_entities_are_refused_at_once(tmp_path: Path, head: str) -> None:
    text = XML.replace("<network>", head + "<network>").replace("./read.py", "&j;&blow;&secret;")
    began = time.monotonic()
    fault = one_fault(tmp_path, CONFIG, with_xml(text))
    assert time.monotonic() - began < 5
    assert fault.startswith("net.xml:2: has a document type (<!DOCTYPE ...>), which is refused, and with it all entities; ")
    assert "root:" not in fault


def test_an_entity_without_a_document_type_is_refused(tmp_path: Path) -> None:
    fault = one_fault(tmp_path, CONFIG, with_xml(XML.replace("./read.py", "&secret;")))
    assert fault.startswith("net.xml:4: is not well-formed XML: undefined entity")


def test_the_five_entities_of_xml_itself_are_allowed(tmp_path: Path) -> None:
    job = loaded(tmp_path, CONFIG, with_xml(XML.replace("-l log", "&quot;a &amp; b&quot;"))).config.jobs[0]
    assert job.PARAMETERS == '-f mix1.wav "a & b"'  # type: ignore[attr-defined]


# -- encodings


DECLARED = (
    '<?xml version="1.0" encoding="{}"?>\n'
    '<network><node pi_id="pi"><algorithm executable="cat"><parameter param="{}"/></algorithm></node></network>'
)
ENCODINGS = ("utf-8 utf8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be latin-1 cp1252 iso-8859-15 gbk gb18030 big5 "
             "shift_jis euc-jp iso-2022-jp euc-kr koi8-r utf-7").split()  # fmt: skip


def _letter(encoding: str) -> str:
    for letter in ("\u4e2d", "\xe4", "\u0436"):
        try:
            letter.encode(encoding)
        except UnicodeEncodeError:
            continue
        return letter
    raise AssertionError(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    letter = _letter(encoding)
    (tmp_path / "net.xml").write_bytes(DECLARED.format(encoding, letter).encode(encoding))
    (job,) = loaded(tmp_path, CONFIG).config.jobs
    assert letter == job.PARAMETERS


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (DECLARED.format("nonsense", "a").encode(), "1: the encoding must be one that Python knows, but is 'nonsense'; save"),
        (DECLARED.format("rot13", "a").encode(), "1: the encoding must be one that Python knows, but is 'rot13'; save the file as UTF-8"),
        (DECLARED.format("zlib", "a").encode(), "1: the encoding must be one that Python knows, but is 'zlib'; save the file as UTF-8"),
        (DECLARED.format("utf8", "\xe4").encode("latin-1"), "2: is not text in the encoding 'utf8'"),
        (b"<network>\n\xff</network>", "2: is not text in the encoding 'utf-8'"),
        (DECLARED.format("shift_jis", "a").encode() + b"\x81", "2: is not text in the encoding 'shift_jis'"),
        (b"\xff\xfe\x00", "1: is not text in the encoding 'utf-16'"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_a_fault_of_the_file(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "net.xml").write_bytes(data)
    assert one_fault(tmp_path, CONFIG).startswith(f"net.xml:{text}")


def test_a_document_type_is_refused_in_every_encoding(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="{0}"?><!DOCTYPE network [<!ENTITY a "b">]><network/>'
    for encoding in ("utf-8", "utf-7", "utf-16", "utf-32", "gbk"):
        (tmp_path / "net.xml").write_bytes(text.format(encoding).encode(encoding))
        assert "refused" in one_fault(tmp_path, CONFIG)


def test_a_bad_key_of_xml_args_is_the_only_fault(tmp_path: Path) -> None:
    text = XML.replace("pi_id=", "address=", 1).replace("pi_id=", "address=")
    found = faults(tmp_path, CONFIG + "XML_ARGS = {'ip': 'address', 'exectuable': 'x', 'inputt': 'y'}\n", with_xml(text))
    assert len(found) == 1
    assert "did you mean 'executable'?" in found[0]
    assert "did you mean 'input'?" in found[0]
