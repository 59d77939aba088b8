"""A short training of a workload on its own examples, without a job."""

import torch

from gpubench.suite.model.case import Case


def trained(workload, train, test, *, epochs, batch_size, learning_rate, losses=None):
    """The score on `test` before, and the final `Score` after it."""
    case, device = Case(workload="cnn"), torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    workload.model = workload.place_model(case, device)
    optimizer = torch.optim.AdamW(workload.model.parameters(), learning_rate)

    def score(*, final):
        workload.model.eval()
        with torch.inference_mode():
            found = workload.evaluate(case, test, device, final=final)
        workload.model.train()
        return found

    before, steps = score(final=False).value, epochs * (len(train) // batch_size)
    for step in range(steps):
        if step % (len(train) // batch_size) == 0:
            order = torch.randperm(len(train), generator=generator)
            batches = train.batches(order, batch_size, device, torch.float32)
        inputs, targets = next(batches)
        workload.pace(optimizer, learning_rate, step, steps)
        loss = workload.loss(workload.model(workload.augment(inputs, generator)), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(workload.model.parameters(), workload.max_gradient_norm)
        optimizer.step()
        if losses is not None:
            losses.append(float(loss.detach()))
    return before, score(final=True)
