"""Section `train` of peers.py: the article's loop in PyTorch, on the features that our own `train` reads."""
import copy
import json
import pathlib
import tempfile
import time

import numpy as np

BATCH, EPOCHS, LEARNING_RATE, HIDDEN, DROPOUT = 32, 5, 1e-5, 512, 0.1


def short_texts(folder, path):
    """The first dozen words of every training review, labelled by its folder, as JSON lines."""
    with open(path, "w", encoding="utf-8") as lines:
        for review in sorted(pathlib.Path(folder, "train").glob("[np]*/*.txt")):
            text = " ".join(review.read_text(encoding="utf-8").split()[:12])
            lines.write(json.dumps({"text": text, "label": review.parent.name}) + "\n")
    return path


def ours(binary, features, recipe, tmp):
    """Wall seconds of the whole command, and the epochs as run.json has them."""
    out = tempfile.mkdtemp(dir=tmp)
    start = time.perf_counter()
    binary.run(["train", features, "--recipe", recipe, "--out", out])
    wall = time.perf_counter() - start
    return wall, json.loads(pathlib.Path(out, "run.json").read_text())["metrics"]["epochs"]


def features_of(folder):
    """Vectors [rows, width] and class indices of a labelled output of `embed`."""
    import pyarrow.dataset

    features = pyarrow.dataset.dataset(f"{folder}/features").to_table(columns=["key", "embedding"])
    width = len(features["embedding"][0])
    vectors = np.concatenate([chunk.flatten().to_numpy() for chunk in features["embedding"].chunks]).reshape(-1, width)
    place = {key: at for at, key in enumerate(features["key"].to_pylist())}
    rows = pyarrow.dataset.dataset(f"{folder}/rows").to_table(columns=["key", "label"])
    labels = np.unique(rows["label"].to_pylist(), return_inverse=True)[1]
    return vectors[[place[key] for key in rows["key"].to_pylist()]], labels


def pytorch_loop(vectors, labels, threads, loader):
    """Seconds of the article's epochs, validation included, and the validation loss of each.

    With a `loader` the batches come from a DataLoader, as the article and most code has them; without, from tensors by a
    drawn order of rows, which is as fast as PyTorch's own optimizer and autograd let it be.
    """
    import sklearn.model_selection
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(threads)
    torch.manual_seed(42)
    split = sklearn.model_selection.train_test_split(vectors, labels, test_size=0.2, random_state=42, stratify=labels)
    train_x, held_x, train_y, held_y = (torch.tensor(part) for part in split)

    def batches(x, y, shuffle):
        if loader:
            return DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=shuffle)
        order = torch.randperm(len(y)) if shuffle else torch.arange(len(y))
        return ((x[rows], y[rows]) for rows in order.split(BATCH if shuffle else 8192))

    head = nn.Sequential(
        nn.Linear(vectors.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, int(labels.max()) + 1)
    )
    optimizer, criterion = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
    losses, best = [], None
    start = time.perf_counter()
    for _ in range(EPOCHS):
        head.train()
        for x, y in batches(train_x, train_y, True):
            optimizer.zero_grad()
            loss = criterion(head(x), y)
            loss.backward()
            optimizer.step()
        head.eval()
        with torch.no_grad():
            total = sum(criterion(head(x), y).item() * len(y) for x, y in batches(held_x, held_y, False))
        losses.append(total / len(held_y))
        if losses[-1] == min(losses):
            best = copy.deepcopy(head.state_dict())
    return time.perf_counter() - start, losses
