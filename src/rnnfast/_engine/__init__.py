"""The engine's room: what functions, layers and frozen layers share between the user's arguments and the kernels' calls.

`checks` has every check and error text; `settings` the threads and the ISA; `form` what a pass must know of the layers it goes
through, and the shapes that follow; `forward` and `tapes` the passes through all layers and directions; `dropout` its masks;
`stack` what a layer and its frozen form share; `states` the form of states.
"""
