"""From YAML text to the cases to measure.

load     a file or shipped suite, with `-s` overrides, checked     model   settings, suites and cases as values
read     YAML and `--arm` text, with the place of every mistake    cases   expansion, labels, ids, quality cases
select   `-k` expressions and patterns of settings
"""
