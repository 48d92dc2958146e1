#!/usr/bin/env python3
"""usage: split-grammar.py GRAM_C

Moves the actions of a parser that bison has made out of its parser function, in place: into functions of 64 rules each.

PostgreSQL's grammar has 3,500 rules, whose actions make base_yyparse() a function of 115 kB. V8's optimising compiler takes half a
second and 670 MB of memory for it, in every process and Worker, as soon as it is hot; for all of the parts together a fifth of the
time and a tenth of the memory. Does nothing to a file that was split before.
"""
import re
import sys

RULES = 64
BEGIN = '  switch (yyn)\n    {\n'
END = '      default: break;\n    }\n'
PARSER = '\nint\nyyparse ('
MARK = '/* actions moved by split-grammar.py */\n'
PARAMETERS = 'int yyn, YYSTYPE *yyvsp, YYLTYPE *yylsp, YYSTYPE *yyvalp, YYLTYPE *yylocp, core_yyscan_t yyscanner'


def split(source):
    head, rest = source.split(BEGIN, 1)
    body, tail = rest.split(END, 1)
    rules = re.split(r'(?m)^(?=  case \d+:)', body)
    if rules[0].strip() or len(rules) < 1000:
        raise ValueError('this is not a parser as bison makes it')
    # these leave the parser function, or change what it knows
    if re.search(r'\b(YYERROR|YYABORT|YYACCEPT|YYBACKUP|yychar|yyclearin|yyerrok|goto|return)\b', re.sub(r'/\*.*?\*/|"[^"\n]*"', '', body, flags=re.S)):
        raise ValueError('an action does what only the parser function can')
    groups = {}
    for rule in rules[1:]:
        groups.setdefault(int(re.match(r'  case (\d+):', rule)[1]) // RULES, []).append(rule)
    functions = ''.join(
        f'static __attribute__((noinline)) void\nreduce_{number}({PARAMETERS})\n{{\n  int yynerrs = 0;\n  (void) yynerrs;\n'
        f'{BEGIN}{"".join(group)}{END}}}\n\n' for number, group in groups.items())
    calls = ''.join(f'      case {number}: reduce_{number}(yyn, yyvsp, yylsp, &yyval, &yyloc, yyscanner); break;\n' for number in groups)
    at = head.rindex(PARSER)
    return (MARK + head[:at] + '\n#define yyval (*yyvalp)\n#define yyloc (*yylocp)\n' + functions + '#undef yyval\n#undef yyloc\n' +
            head[at:] + f'  switch (yyn / {RULES})\n    {{\n' + calls + END + tail)


def main():
    path = sys.argv[1]
    with open(path, encoding='utf-8') as file:
        source = file.read()
    if not source.startswith(MARK):
        source = split(source)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(source)


main()
