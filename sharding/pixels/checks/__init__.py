"""What a decoded picture itself says, where no header does.

In: grey or colour pixels. Out: numbers and names of what was noticed; no picture is changed. `blank`: whether it shows
anything; `orientation`: whether it stands upright, with the right greys; `noticed`: all of it, for a build.
"""
