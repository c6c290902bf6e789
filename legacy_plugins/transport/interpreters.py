"""Command lines of interpreters: which argument is the script, and whether anything else on the line is code.

An interpreter runs whatever its arguments name, so allowing `python` would allow everything (`python -c ...`). This
file knows how the common ones read their options, as an allow-list: an option that is not known here to load no code
makes the reading fail. Decisions over strings and links; any thread. It must not decide what is trusted: `trust` does.
"""
from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import Dict, FrozenSet, Mapping, NamedTuple, Optional, Sequence, Tuple

_NOTHING: Mapping[str, str] = MappingProxyType({})


_FILE = r".*[./].*"


class Grammar(NamedTuple):
    """The options of one interpreter. Letters (`-B`) may be clustered (`-uB`); words (`--name`) stand alone.

    `flags`: letters without a value; `flag_words`: pattern of whole arguments that are complete in themselves.
    `values`: options whose value is the rest of the argument or the next one; `harmless`: patterns of the values with
    which such an option loads no code, where others would. `loads`: the same for options that load code besides the
    script. `inline`: options that bring the program itself. `script_words`: the next argument is the script, and
    options may still follow it. `script`: what a script's name looks like where a subcommand or class may stand there.
    """

    flags: str = ""
    flag_words: str = ""
    values: str = ""
    value_words: FrozenSet[str] = frozenset()
    harmless: Mapping[str, str] = _NOTHING
    loads: str = ""
    load_words: FrozenSet[str] = frozenset()
    inline: str = ""
    inline_words: FrozenSet[str] = frozenset()
    script_words: FrozenSet[str] = frozenset()
    subcommands: Tuple[str, ...] = ()
    script: str = ".*"
    signs: str = "-"  # what an option begins with
    ends: bool = True  # "--" ends the options
    attached: bool = True  # a letter's value may follow it without a space


class Reading(NamedTuple):
    """`interpreter`: its base name. `script`: index of the script. `fault`: why no script alone decides what runs."""

    interpreter: str
    script: Optional[int]
    fault: Optional[str]


def _words(text: str) -> FrozenSet[str]:
    return frozenset(text.split())


_PYTHON = Grammar(
    flags="bBdEIOPqRsSuvx", values="WX", value_words=_words("--check-hash-based-pycs"), inline="cm",
    harmless={  # -W imports the module of a dotted category; -X pycache_prefix and presite load code
        "W": r"[a-z]+(:[^:]*(:\w*(:[^:]*(:\d*)?)?)?)?",
        "X": r"dev|faulthandler|importtime|no_debug_ranges|showrefcount|warn_default_encoding|perf|perf_jit"
             r"|int_max_str_digits=\d+|tracemalloc(=\d+)?|utf8(=[01])?|frozen_modules(=(on|off))?|cpu_count=\w+"
             r"|gil=[01]",
    })
_NODE = Grammar(
    loads="rC", inline="ep", attached=False,
    load_words=_words("--require --import --loader --experimental-loader --conditions --env-file "
                      "--env-file-if-exists --openssl-config --experimental-config-file"),
    inline_words=_words("--eval --print"),
    value_words=_words("--unhandled-rejections --title --max-http-header-size --dns-result-order --disable-proto"),
    flag_words=r"--max[-_](old|semi)[-_]space[-_]size=\d+|--stack[-_](size|trace[-_]limit)=\d+|--enable-source-maps"
               r"|--(no|trace|throw|pending)-deprecation|--no-warnings|--trace-(warnings|uncaught|sigint|exit)"
               r"|--expose[-_]gc|--jitless|--frozen-intrinsics|--disallow-code-generation-from-strings|--no-addons"
               r"|--abort-on-uncaught-exception|--use-(openssl|bundled|system)-ca"
               r"|--tls-(min|max)-v1\.[0-3]|--zero-fill-buffers|--secure-heap=\d+")
_SHELL = Grammar(
    flags="aefhmnuvxCp", values="oO", inline="cs", signs="-+", attached=False,
    harmless={  # -o login and -o interactive read start-up files
        "o": "allexport|braceexpand|err(exit|trace|_exit|_return)|functrace|hashall|no(clobber|exec|glob|log|unset)"
             "|physical|pipe_?fail|posix|privileged|verbose|xtrace",
        "O": "(ext|null|fail|nocase|dot)glob|globstar|lastpipe|inherit_errexit",
    },
    flag_words=r"--(norc|noprofile|posix|restricted|verbose|no-rcs|no-globalrcs)",
    load_words=_words("--rcfile --init-file"))
_PERL = Grammar(flags="tTwWX", flag_words=r"-C([0-9]*|[IOEioADSLa]*)", loads="IMm", inline="eE")
_RUBY = Grammar(
    flags="dUw", values="E", value_words=_words("--encoding --external-encoding --internal-encoding"), loads="rIC",
    inline="e", flag_words=r"-W[0-2]?|-W:[a-z-]+|-K\w?|--((en|dis)able[-=][a-z,_-]+|(y|r|m|zj)?jit)")
_PHP = Grammar(
    flags="nqCH", flag_words=r"--no-php-ini|--no-header", values="d", value_words=_words("--define"),
    harmless=dict.fromkeys(
        ("d", "--define"), r"(memory_limit|max_execution_time|(display|log)_errors|error_reporting|date\.timezone"
                           r"|default_charset|precision|zend\.assertions)(=.*)?"),
    loads="cz", load_words=_words("--php-ini --zend-extension"), inline="rBREFaS",
    inline_words=_words("--run --process-begin --process-code --process-end --process-file --interactive --server"),
    script_words=_words("-f --file"), ends=False)
_JAVA = Grammar(
    flag_words=r"-jar|-Xm[nsx]\d+[kmgtKMGT]?|-Xss\d+[kmgKMG]?|-X(rs|int|comp|mixed|share:(on|off|auto))|-server|-client"
               r"|-XX:([+-]\w+|\w+=[\d.]+[kmgtKMGT%]?)|-[ed]s?a(:[\w.$]+)?|-D(?!(java|sun|jdk)\.)[\w.-]+(=.*)?"
               r"|--(enable-preview|add-(opens|exports|modules|reads)=.*|enable-native-access=.*|source=\d+)",
    value_words=_words("--add-opens --add-exports --add-modules --add-reads --enable-native-access --source"),
    load_words=_words("-cp -classpath --class-path -p --module-path --upgrade-module-path --patch-module"),
    inline_words=_words("-m --module"), script=r".*\.(jar|war|java)", ends=False)
_LUA = Grammar(flags="EW", flag_words=r"-O[0-3]|-j(on|off)", loads="l", inline="e")
_RSCRIPT = Grammar(
    flag_words=r"--(vanilla|slave|quiet|verbose|no-(environ|site-file|init-file|save|restore|echo))", inline="e",
    ends=False)
_TCL = Grammar(value_words=_words("-encoding"), ends=False)
_DENO = Grammar(
    subcommands=("run",), flags="Aq", loads="c", script=_FILE, ends=False,
    load_words=_words("--config --import-map --preload --cert --lock"),
    flag_words=r"--(allow|deny)-(all|env|ffi|hrtime|import|net|read|run|sys|write)(=.*)?|--unstable(-[a-z-]+)?|--quiet"
               r"|--no-(prompt|remote|npm|lock|check|config)|--cached-only|--v8-flags=--max-old-space-size=\d+")
_BUN = Grammar(
    subcommands=("run",), flag_words=r"--(smol|silent|no-install)", loads="rc", inline="ep",
    load_words=_words("--preload --require --import --config --env-file --cwd --tsconfig-override --define"),
    inline_words=_words("--eval --print"), script=_FILE, ends=False)
#: Interpreters of which nothing is known but that their first argument is the script.
_PLAIN = Grammar(script=_FILE, ends=False)

_GRAMMARS: Dict[str, Grammar] = {name: grammar for names, grammar in (
    ("python pythonw pypy graalpy", _PYTHON), ("node nodejs", _NODE), ("deno", _DENO), ("bun", _BUN),
    ("sh ash bash dash zsh ksh ksh93 mksh rbash yash", _SHELL), ("perl", _PERL), ("ruby", _RUBY),
    ("php php-cli", _PHP), ("java javaw", _JAVA), ("lua luajit", _LUA), ("rscript", _RSCRIPT),
    ("tclsh wish", _TCL),
    ("csh tcsh fish ipython micropython jython jruby truffleruby raku groovy dotnet mono julia elixir", _PLAIN),
    ("escript php-cgi guile racket swipl expect qjs gjs tsx ts-node electron pwsh octave wasmtime osascript", _PLAIN),
) for name in names.split()}

#: Programs that run what their arguments say, in ways that no script argument tells: the exact command line or nothing.
_LAUNCHERS = _words(
    "env busybox toybox nice nohup timeout setsid stdbuf xargs sudo doas su chroot unshare nsenter npx npm pnpm yarn "
    "bunx uv uvx pipx poetry pipenv hatch cargo go make awk gawk mawk nawk kotlin scala r")
_LOADER = re.compile(r"ld(-.*)?\.so|ld-musl-.*")  # the dynamic loader: `ld-linux-x86-64.so.2 PROGRAM`

# python3.11, python3.13t, python3.11-dbg, node18, lua5.4, perl5.36-x86_64-linux-gnu; not python3-backup, a program
_VERSION = re.compile(r"[-_.]?\d+(\.\d+)*[a-z]{0,2}(-(dbg|debug|intel64|beta\d+|\w+-linux-\w+))?$")


def read_command_line(executable: str, args: Sequence[str]) -> Optional[Reading]:
    """How the program at `executable` reads `args`; None when it is no known interpreter.

    What it really is, after links, counts before the name in front: a link `backup` to `python3.11` is Python, `sh` may
    be `dash`. Only a program of many names (`busybox`) goes by the name it is called with.
    """
    shown = os.path.basename(executable)
    stems = [_stem(os.path.basename(os.path.realpath(executable))), _stem(shown)]
    for stem in stems:
        if stem in _GRAMMARS:
            script, fault = _read(_GRAMMARS[stem], args)
            return Reading(shown, script, fault)
    if any(stem in _LAUNCHERS or _LOADER.match(stem) for stem in stems):
        return Reading(shown, None, "runs whatever its arguments say")
    return None


def interpreter_script_index(executable: str, args: Sequence[str]) -> Optional[int]:
    """Index in `args` of the script that a known interpreter would run; None for another program, or without a script.

    That there is a script does not mean that the command line is allowed; `TrustPolicy.check` decides that.
    """
    reading = read_command_line(executable, args)
    return None if reading is None else reading.script


def _stem(name: str) -> str:
    """`Python3.11.exe` -> `python`."""
    name = name.lower()
    name = name[:-4] if name.endswith(".exe") else name
    return name if name in _GRAMMARS else _VERSION.sub("", name)


def _read(grammar: Grammar, args: Sequence[str]) -> Tuple[Optional[int], Optional[str]]:
    """The script's index (None: there is none, or it cannot be told) and the first fault of the options before it."""
    fault: Optional[str] = None
    position = 1 if args and args[0] in grammar.subcommands else 0
    while position < len(args):
        argument = args[position]
        if argument == "--" and grammar.ends:
            position += 1
            break
        if argument == "-" or argument[:1] not in tuple(grammar.signs):
            break
        kind, option, value = _classify(grammar, argument)
        if kind == "inline":
            return None, fault or f"its option {option!r} brings the program itself, or names one elsewhere"
        if kind == "unknown":
            return None, fault or f"its option {option!r} is not known to load no code"
        position += 1
        if kind == "script":
            after = args[position + 1] if position + 1 < len(args) else "--"
            if after.startswith("-") and after != "--":
                fault = fault or f"options follow the script of {option!r}; put '--' between"
            break
        if kind != "flag" and value is None:
            value = args[position] if position < len(args) else ""
            position += 1
        if kind == "loads" or not _is_harmless(grammar, option, value):
            fault = fault or f"its option {option!r} loads code besides the script"
    if position >= len(args) or args[position] == "-":
        return None, fault or "no script is named, so its program would come from stdin"
    if not re.fullmatch(grammar.script, args[position]):
        return None, fault or f"its argument {args[position]!r} does not name a script file"
    return position, fault


def _classify(grammar: Grammar, argument: str) -> Tuple[str, str, Optional[str]]:
    """What an option is (flag, value, loads, inline, script, unknown), its name, and its value where attached."""
    if re.fullmatch(grammar.flag_words, argument):
        return "flag", argument, None
    name, equals, text = argument.partition("=")
    for kind, words in (("value", grammar.value_words), ("loads", grammar.load_words),
                        ("inline", grammar.inline_words), ("script", grammar.script_words)):
        if name in words:
            return ("unknown" if equals and kind == "script" else kind), name, (text if equals else None)
    if argument == "--":
        return "unknown", argument, None
    for position, letter in enumerate(argument[1:], start=2):
        if letter in grammar.flags:
            continue
        rest = argument[position:] or None
        if letter in grammar.inline:
            return "inline", f"-{letter}", rest
        if letter in grammar.values + grammar.loads and (rest is None or grammar.attached):
            return ("value" if letter in grammar.values else "loads"), f"-{letter}", rest
        return "unknown", name, None
    return "flag", argument, None


def _is_harmless(grammar: Grammar, option: str, value: Optional[str]) -> bool:
    pattern = grammar.harmless.get(option, grammar.harmless.get(option[1:]))
    return value is None or pattern is None or re.fullmatch(pattern, value) is not None
