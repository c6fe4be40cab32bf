"""A hand-written PyTorch loop without hwprof: prints each step's nanoseconds. Arguments: model batch steps."""

import json
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

model_name, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
torch.set_num_threads(1)
if model_name == "cifar_cnn":
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2304, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
else:
    # torchvision over a torch without CUDA needs a step of its own, which has no part in the loop.
    from toolkit.capture.workloads.torch_parts import import_torchvision

    model = getattr(import_torchvision().models, model_name)(weights=None, num_classes=10)
images = torch.randint(0, 255, (512, 3, 32, 32), dtype=torch.uint8)
labels = torch.randint(0, 10, (512,))


class Samples(TensorDataset):
    """The same pipeline as the workload's: bytes to floats a sample at a time."""

    def __len__(self) -> int:
        return batch * steps

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return images[index % 512].float().div_(255), labels[index % 512]


optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
criterion = nn.CrossEntropyLoss()
loss_sum = torch.zeros(())
model.train()
durations = []
batches = iter(DataLoader(Samples(), batch_size=batch, shuffle=True))
for _ in range(steps):
    start = time.perf_counter_ns()
    x, y = next(batches)
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    loss_sum += loss.detach() * len(y)
    durations.append(time.perf_counter_ns() - start)
print(json.dumps(durations))
