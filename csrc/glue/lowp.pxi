def round_bf16(x):
    return unary(run_round_bf16, x)
