"""The image tower's precisions beside ONNX Runtime and OpenVINO: ViT-L/14@336 with random weights, by turns.

Usage: python precision.py make FOLDER [residual|norms] | time FOLDER FORWARD BATCH ROUNDS THREADS
(numpy 2.4, safetensors 0.8, onnx 1.23, onnxruntime 1.32, openvino 2026.4; FORWARD: the program of examples/forward.rs)

`make` writes the weights in Hugging Face layout (a small text tower stands in for CLIP's). `residual` scales six channels
that every block adds to the residual stream by 30; `norms` scales six channels of what every norm puts out by 30, and
the weights that read them inversely, so that float32 computes the same.
`time` asks every contestant for a pass in turn. Beside seconds it prints seconds of the processor: with one thread they
compare programs on a machine that others use, too.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
from safetensors.numpy import load_file, save_file

WIDTH, HIDDEN, LAYERS, HEADS, PATCH, SIDE, EMBEDDING = 1024, 4096, 24, 16, 14, 336, 768
FACTOR, CHANNELS = 30, 6


def make(folder, outliers=None):
    random, tensors = np.random.default_rng(0), {}
    normal = lambda *shape, scale=1.0: random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def linear(name, outputs, inputs, bias=True):
        tensors[name + ".weight"] = normal(outputs, inputs, scale=inputs**-0.5)
        if bias:
            tensors[name + ".bias"] = normal(outputs, scale=0.1)

    def norm(name, width):
        tensors[name + ".weight"], tensors[name + ".bias"] = 1 + normal(width, scale=0.2), normal(width, scale=0.1)

    def tower(prefix, layers, width, hidden):
        for i in range(layers):
            block = f"{prefix}.encoder.layers.{i}."
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"]:
                linear(block + "self_attn." + name, width, width)
            norm(block + "layer_norm1", width), norm(block + "layer_norm2", width)
            linear(block + "mlp.fc1", hidden, width), linear(block + "mlp.fc2", width, hidden)

    vision, text = "vision_model", "text_model"
    tensors[vision + ".embeddings.patch_embedding.weight"] = normal(WIDTH, 3, PATCH, PATCH, scale=(3 * PATCH**2) ** -0.5)
    tensors[vision + ".embeddings.class_embedding"] = normal(WIDTH)
    tensors[vision + ".embeddings.position_embedding.weight"] = normal(1 + (SIDE // PATCH) ** 2, WIDTH)
    norm(vision + ".pre_layrnorm", WIDTH), norm(vision + ".post_layernorm", WIDTH)
    tower(vision, LAYERS, WIDTH, HIDDEN)
    linear("visual_projection", EMBEDDING, WIDTH, bias=False)
    tensors[text + ".embeddings.token_embedding.weight"] = normal(49408, 64)
    tensors[text + ".embeddings.position_embedding.weight"] = normal(77, 64)
    tower(text, 1, 64, 256), norm(text + ".final_layer_norm", 64)
    linear("text_projection", EMBEDDING, 64, bias=False)
    tensors["logit_scale"] = np.array(4.6, dtype=np.float32)
    scale_channels(tensors, outliers, random)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    common = dict(projection_dim=EMBEDDING, hidden_act="quick_gelu")
    vision = dict(hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, image_size=SIDE, patch_size=PATCH, model_type="clip_vision_model", **common)
    text = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=1, num_attention_heads=1, vocab_size=49408, max_position_embeddings=77, model_type="clip_text_model", **common)
    (folder / "config.json").write_text(json.dumps(dict(model_type="clip", projection_dim=EMBEDDING, vision_config=vision, text_config=text)))


def scale_channels(tensors, outliers, random):
    channels = random.choice(WIDTH, CHANNELS, replace=False)
    for i in range(LAYERS):
        block = f"vision_model.encoder.layers.{i}."
        if outliers == "residual":
            for name in ["self_attn.out_proj", "mlp.fc2"]:
                tensors[block + name + ".weight"][channels] *= FACTOR
                tensors[block + name + ".bias"][channels] *= FACTOR
        if outliers == "norms":
            attention = [f"self_attn.{c}_proj" for c in "qkv"]
            for norm, readers in [("layer_norm1", attention), ("layer_norm2", ["mlp.fc1"])]:
                channels = random.choice(WIDTH, CHANNELS, replace=False)
                tensors[block + norm + ".weight"][channels] *= FACTOR
                tensors[block + norm + ".bias"][channels] *= FACTOR
                for reader in readers:
                    tensors[block + reader + ".weight"][:, channels] /= FACTOR


def graph(folder):
    """The image tower in ONNX, of the operators that PyTorch's exporter uses, too."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = folder / "onnx" / "vision.onnx"
    if path.exists():
        return path
    tensors = load_file(folder / "model.safetensors")
    nodes, constants = [], {}

    def constant(name, value):
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def node(kind, *inputs, **attributes):
        name = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(x, name, bias=True):
        x = node("MatMul", x, constant(name + ".weight.t", tensors[name + ".weight"].T))
        return node("Add", x, constant(name + ".bias", tensors[name + ".bias"])) if bias else x

    def norm(x, name):
        parameters = [constant(f"{name}.{part}", tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
        return node("LayerNormalization", x, *parameters, epsilon=1e-5)

    vision, dim = "vision_model.", WIDTH // HEADS
    ints = lambda name, *values: constant(name, np.array(values, dtype=np.int64))
    weight = constant("patch", tensors[vision + "embeddings.patch_embedding.weight"])
    x = node("Conv", "pixels", weight, strides=[PATCH, PATCH], kernel_shape=[PATCH, PATCH])
    x = node("Transpose", node("Reshape", x, ints("flat", 0, WIDTH, -1)), perm=[0, 2, 1])
    first = node("Slice", x, ints("zero", 0), ints("one", 1), ints("axis", 1))
    row = node("Mul", first, constant("nothing", np.zeros(1, np.float32)))
    row = node("Add", row, constant("class", tensors[vision + "embeddings.class_embedding"]))
    x = node("Add", node("Concat", row, x, axis=1), constant("positions", tensors[vision + "embeddings.position_embedding.weight"]))
    x = norm(x, vision + "pre_layrnorm")
    split, join, slope = ints("split", 0, 0, HEADS, dim), ints("join", 0, 0, WIDTH), constant("slope", np.float32(1.702))
    scale = constant("scale", np.float32(dim**-0.5))
    for i in range(LAYERS):
        block = f"{vision}encoder.layers.{i}."
        y = norm(x, block + "layer_norm1")
        heads = lambda c, perm: node("Transpose", node("Reshape", linear(y, f"{block}self_attn.{c}_proj"), split), perm=perm)
        q, k, v = heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1]), heads("v", [0, 2, 1, 3])
        scores = node("Softmax", node("MatMul", node("Mul", q, scale), k), axis=-1)
        y = node("Reshape", node("Transpose", node("MatMul", scores, v), perm=[0, 2, 1, 3]), join)
        x = node("Add", x, linear(y, block + "self_attn.out_proj"))
        y = linear(norm(x, block + "layer_norm2"), block + "mlp.fc1")
        y = node("Mul", y, node("Sigmoid", node("Mul", y, slope)))
        x = node("Add", x, linear(y, block + "mlp.fc2"))
    x = norm(node("Gather", x, constant("index", np.int64(0)), axis=1), vision + "post_layernorm")
    x = linear(x, "visual_projection", bias=False)
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    made = helper.make_graph(nodes, "vision", [value("pixels", "batch", 3, SIDE, SIDE)], [value(x, "batch", EMBEDDING)], list(constants.values()))
    path.parent.mkdir(exist_ok=True)
    made = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, path, save_as_external_data=True, location="vision.bin")
    return path


def peers(folder, threads):
    import onnxruntime
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = graph(folder)
    small = path.with_name("int8.onnx")
    if not small.exists():
        quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=True, op_types_to_quantize=["MatMul"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for name, file in [("float32", path), ("dynamic int8", small)]:
        session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
        yield f"ONNX Runtime {onnxruntime.__version__} {name}", lambda x, session=session: session.run(None, {"pixels": x})[0]
    core = openvino.Core()
    for precision in ["f32", "bf16"]:
        hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        model = core.compile_model(path, "CPU", hints)
        yield f"OpenVINO {openvino.__version__.split('-')[0]} {precision}", lambda x, model=model: model(x)[0]


def processor_seconds(process):
    """What a process and its threads have used (Linux)."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder, forward, batch, rounds, threads):
    batch, rounds, threads = int(batch), int(rounds), int(threads)
    command = lambda numbers: [forward, folder, "--time", str(SIDE), str(batch), numbers]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    start = lambda numbers: subprocess.Popen(command(numbers), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    processes = {f"ours {numbers}": start(numbers) for numbers in ["float32", "bfloat16", "int8"]}

    def ask(process, line):
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    def ours(process):
        before = processor_seconds(process)
        return ask(process, "forward"), processor_seconds(process) - before

    def theirs(call):
        begin, before = time.perf_counter(), time.process_time()
        call(images)
        return time.perf_counter() - begin, time.process_time() - before

    for name, process in processes.items():
        print(f"{name}: loading {ask(process, 'load'):.2f} s, resident {ask(process, 'resident'):.0f} MB")
    images = np.random.default_rng(1).standard_normal((batch, 3, SIDE, SIDE), dtype=np.float32)
    runs = {name: lambda process=process: ours(process) for name, process in processes.items()}
    exact = None
    for name, call in peers(folder, threads):
        runs[name] = lambda call=call: theirs(call)
        found = call(images)
        exact = found if exact is None else exact
        cosine = (found * exact).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(exact, axis=-1)
        print(f"{name}: cosine with the first {cosine.min():.6f}")
    rows = [{name: run() for name, run in runs.items()} for _ in range(rounds + 1)][1:]  # the first warms up
    print(f"batch {batch}, {threads} threads, {rounds} rounds, load average {os.getloadavg()[0]:.1f}: best seconds, best seconds of the processor, then ours int8, bfloat16, float32 as shares of the latter (medians of the rounds)")
    for name in runs:
        wall, used = (min(row[name][i] for row in rows) for i in (0, 1))
        ratios = [statistics.median(row[f"ours {numbers}"][1] / row[name][1] for row in rows) for numbers in ["int8", "bfloat16", "float32"]]
        print(f"{name:32} {wall:.2f}  {used:.2f}   " + "  ".join(f"{ratio:.2f}" for ratio in ratios))


commands = {"make": make, "time": measure}
commands[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
