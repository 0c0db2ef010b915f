"""`nelbo studio`: a local web page to see, steer and judge a model. One file a tab; `launch` opens the page."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
