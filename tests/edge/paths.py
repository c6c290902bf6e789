"""Request targets that mean one thing here and another thing there; `%P%` is the plugin's prefix."""
from __future__ import annotations

from typing import Dict

TARGETS: Dict[str, bytes] = {
    "dots": b"%P%/files/../../etc/passwd", "dots-inside": b"%P%/files/a/../b", "dots-at-the-end": b"%P%/files/a/..",
    "dots-before-the-plugin": b"/api/plugins/../plugins/liar/files/a", "encoded-dots": b"%P%/files/%2e%2e/a",
    "half-encoded-dots": b"%P%/files/.%2E/a", "encoded-dots-and-slash": b"%P%/files/..%2f..%2fetc%2fpasswd",
    "dots-through-another-plugin": b"/api/plugins/breaker/../liar/files/a", "one-dot": b"%P%/./files/a",
    "encoded-dot": b"%P%/files/%2e/a", "encoded-slash": b"%P%/files/a%2fb", "encoded-slash-upper": b"%P%/files/a%2Fb",
    "encoded-slash-before-the-plugin": b"/api/plugins%2fliar/files/a", "two-slashes": b"%P%//files/a",
    "two-slashes-first": b"//api/plugins/liar/files/a", "slashes-inside": b"%P%/files/a//b", "slashes-last": b"%P%/files/a//",
    "host-in-the-path": b"//evil.example%P%/files/a", "backslash": b"%P%/files/a\\..\\b", "encoded-backslash": b"%P%/files/..%5cb",
    "encoded-backslash-upper": b"%P%/files/a%5Cb", "dots-with-parameters": b"%P%/files/..;x=1/a", "dot-semicolon": b"%P%/files/.;/a",
    "empty-with-parameters": b"%P%/files/;x/a", "nul": b"%P%/files/a%00b", "nul-raw": b"%P%/files/a\x00b",
    "nul-before-the-end": b"%P%/files/a%00.png", "control": b"%P%/files/a%01b", "tab": b"%P%/files/a%09b", "tab-raw": b"%P%/files/a\tb",
    "cr-lf": b"%P%/files/a%0d%0aX-Injected:%201", "lf": b"%P%/files/a%0ab", "cr-raw": b"%P%/files/a\rb", "del": b"%P%/files/%7f",
    "del-raw": b"%P%/files/\x7f", "c1": b"%P%/files/%c2%85", "not-utf-8": b"%P%/files/%ff%fe", "overlong-dot": b"%P%/files/%c0%ae%c0%ae/a",
    "overlong-slash": b"%P%/files/a%c0%afb", "surrogate": b"%P%/files/%ed%a0%80", "cut-utf-8": b"%P%/files/a%e2%82",
    "replacement": b"%P%/files/%ef%bf%bd", "bytes": b"%P%/files/\xc3\xa9", "bytes-not-utf-8": b"%P%/files/\xff\xfe",
    "twice-encoded-dots": b"%P%/files/%252e%252e/a", "twice-encoded-slash": b"%P%/files/a%252fb",
    "twice-encoded-nul": b"%P%/files/a%2500", "thrice-encoded": b"%P%/files/%25252e%25252e/a", "bad-escape": b"%P%/files/%zz",
    "cut-escape": b"%P%/files/a%", "cut-escape-2": b"%P%/files/a%2", "utf-16-escape": b"%P%/files/%u002e%u002e/a",
    "fullwidth-dots": b"%P%/files/%ef%bc%8e%ef%bc%8e/a", "fullwidth-slash": b"%P%/files/a%ef%bc%8fb",
    "very-long": b"%P%/files/" + b"a" * 100_000, "very-many-segments": b"%P%/files" + b"/a" * 3000,
    "very-many-dots": b"%P%/files" + b"/.." * 500, "absolute": b"http://localhost%P%/files/a", "absolute-dots": b"http://localhost%P%/files/../a",
    "absolute-encoded": b"http://localhost%P%/files/a%2fb", "absolute-elsewhere": b"http://evil.example%P%/files/a",
    "absolute-other-scheme": b"file:///etc/passwd", "absolute-userinfo": b"http://a@b%P%/files/..%2f", "star": b"*",
    "authority": b"evil.example:443", "no-slash": b"api/plugins/liar/files/a", "empty-query": b"%P%/files/a?", "dots-in-the-query": b"%P%/files/a?../..%2f",
    "fragment": b"%P%/files/a#/../b", "fragment-dots": b"%P%/files/#../..", "space": b"%P%/files/a b", "two-versions": b"%P%/files/a HTTP/1.1",
    "upper-case-plugin": b"/api/plugins/LIAR/files/a", "space-behind-the-plugin": b"/api/plugins/liar%20/files/a",
    "dot-behind-the-plugin": b"/api/plugins/liar./files/a", "mount-alone": b"/api/plugins/", "mount-dots": b"/api/plugins/..",
}
