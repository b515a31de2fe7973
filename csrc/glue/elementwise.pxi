def dropout(x, key, p):
    x = f32(x, "x")
    y = empty(x.shape)
    run_dropout(y, x, key[0], key[1], round(float(p) * 65536), 1 / (1 - float(p)), x.size)
    return y


def dropout_backward(dy, key, p):
    return dropout(f32(dy, "dy"), key, p)
