"""A loop of your own in PyTorch: a small network learns which of two rings a point lies on."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from toolkit import profile

BATCH = 64


def points(count: int) -> TensorDataset:
    """Noisy points on rings of radius 1 and 2: [count, 2] and which ring, [count]."""
    ring = torch.randint(2, (count,))
    angle = 2 * torch.pi * torch.rand(count)
    radius = 1 + ring + 0.2 * torch.randn(count)
    return TensorDataset(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), ring)


def main() -> None:
    """Three epochs of training, a validation after each."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(points(2048), batch_size=BATCH, shuffle=True)
    held_out = points(512).tensors

    with profile("rings", batch=BATCH, settings={"learning_rate": 0.003}) as run:
        for _ in run.epochs(3):
            for inputs, labels in run.steps(loader):
                optimizer.zero_grad()
                loss = loss_of(model(inputs.to(device)), labels.to(device))
                loss.backward()
                optimizer.step()
            with run.phase("validation"), torch.no_grad():
                right = model(held_out[0].to(device)).argmax(1).cpu() == held_out[1]
            run.log(loss=loss, accuracy=right.float().mean())


if __name__ == "__main__":
    main()
