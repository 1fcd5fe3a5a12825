"""A trained model in the form in which a web page decodes with it.

python -m glo_lib export --run pretrained --for web --out model
"""

from glo_lib.inference.web.export import WebModel, export_run_for_web, export_web, read_web

__all__ = ["WebModel", "export_run_for_web", "export_web", "read_web"]
