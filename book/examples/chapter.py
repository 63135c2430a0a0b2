"""A chapter of your own: run this in a clone, then `ssl-theory run mine -o mine.ipynb`."""

from pathlib import Path

from nbformat import v4, write

THEOREM = r"""[[theorem]]
id = "M1"
title = "A shift changes no variance"
chapter = "mine"
statement = 'If $f$ has a variance, $\mathbb V[f + c] = \mathbb V[f]$ for all $c$.'
relation = "extends"
paper = "not there"
[[theorem.claims]]
id = "M1.shift"
what = 'variances of shifted outputs against those of the outputs'
control = 'mean squares in place of variances'
kind = "exact"
"""
TEXT = r"""# A shift changes no variance
```{prf:theorem} A shift changes no variance
:label: m1
If $f$ has a variance, $\mathbb V[f + c] = \mathbb V[f]$ for all $c$.
```
```{prf:proof}
$f + c - \mathbb E[f + c] = f - \mathbb E f$.
```"""
SETTING = 'profile = "quick"\nseed = 0\ndevice = "cpu"'
CHECK = """from ssl_theory.chapter import start
chapter = start("mine", profile, seed, device)
with chapter.check("M1.shift") as check:
    f, c = chapter.normal(50, 3), chapter.normal(3)
    check.equal((f + c).var(0), f.var(0), (f + c).square().mean(0))"""
tagged = v4.new_code_cell(SETTING, metadata={"tags": ["parameters"]})
cells = [v4.new_markdown_cell(TEXT), tagged, v4.new_code_cell(CHECK)]
Path("ssl_theory/theorems/mine.toml").write_text(THEOREM, encoding="utf-8")
write(v4.new_notebook(cells=cells), "book/practice/mine.ipynb")
toc = Path("book/_toc.yml")
entry = "  - chapters:\n      - file: practice/mine\n"  # then move it to its place
toc.write_text(toc.read_text(encoding="utf-8") + entry, encoding="utf-8")
