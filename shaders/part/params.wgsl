// What kernels share of their parameters. `Params` holds the groups that a shader's text reads; the composer writes it.

const NOWHERE = 0xffffffffu;
