"""Baselines in PyTorch, as a process of its own: one JSON request a line in, JSON lines out.

The script needs PyTorch and NumPy only, and no `bsd`, so that it runs under any Python for
which there is a PyTorch. Spiking layers, encoding and decision are those of the discrete
parameter set: a leak of one half per step, a threshold in units of the unit synapse, regular
spike trains of random phase, a population code of the concepts, the concept with the largest
cosine to the output's spike counts, a tie or silence counting as wrong.

Methods
-------
streaming           the same streaming rule, one trial at a time, no autograd
batch_bsd           the paper's form: batches, layers detached, ReCo loss over the batch, Adam
bp                  backpropagation through time with a surrogate gradient, Adam; of an autoencoder
                    through the layers to the code and back
feedback_alignment  the same, errors travelling over fixed random weights
frozen              the same, hidden weights staying random
bp_asymmetric       bp of an autoencoder, with the asymmetry of the recalled stimulus in its loss

In `streaming`, spikes take one step from layer to layer as in `bsd`; in the others they arrive
within the step, the usual form, which loses no step of a trial to delays.

Requests
--------
Every request has ``task``, ``method``, ``data`` (an .npz with x_train, y_train, x_test, y_test and
connected, which cells of each layer reach which cells of the next one), ``network`` (constants, see
`bsd.runs.bench.torch_process.network_constants`) and ``seed``.

speed   ``trials``: trains on so many more trials; answers ``ms_per_trial``.
search  ``grid``, ``epochs``, ``shift``, ``validation``: trains with each learning rate of the grid
        on the training set without its last ``validation`` images, and answers the one with the
        highest accuracy on those.
train   ``learning_rate``, ``epochs``, ``shift``, optionally ``perturbations``: trains, answers the
        accuracy on the test set after each epoch, and under each perturbation at the end. Of an
        autoencoder the accuracy is minus the mean squared error; in the folder ``generated`` an
        .npz of the method's name gets ``reconstructed`` test images and as many that are
        ``sampled`` from a Gaussian fitted to the codes of ``fitted`` training images.
features  ``images``, ``features``: activities of a small convolutional classifier's last hidden
        layer, for each array of images of one .npz, written to the other; the classifier is trained
        on the training set at the first request, its test ``accuracy`` is the answer.
sequence  ``learning_rate``, ``epochs``, ``segment``, ``loss``: trains a recurrent network by
        backpropagation on a sequence (see `Recurrent`), answers ``error`` of the test part after
        each epoch: mean squared error of a forecast, or share of wrong symbols of a text.
"""

import itertools
import json
import math
import sys
import time

import numpy as np
import torch

BATCH = 128
SEGMENTS = 64  # of a sequence, side by side
GAIN = 4.0  # of the softmax


class SurrogateSpike(torch.autograd.Function):
    """A step whose derivative is 1 / (1 + (pi x)^2)."""

    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad):
        (distance,) = ctx.saved_tensors
        return grad / (1 + (math.pi * distance) ** 2)


class FeedbackLinear(torch.autograd.Function):
    """A linear layer whose errors go back over weights of their own."""

    @staticmethod
    def forward(ctx, x, weight, feedback):
        ctx.save_for_backward(x, feedback)
        return x @ weight

    @staticmethod
    def backward(ctx, grad):
        x, feedback = ctx.saved_tensors
        return grad @ feedback.T, x.T @ grad, None


def encode(intensity, steps, generator):
    """Regular spike trains of rate `intensity` and random phase, shape (steps, *shape)."""
    phase = torch.rand(intensity.shape, generator=generator)
    step = torch.arange(steps + 1, dtype=intensity.dtype).view(-1, *[1] * intensity.dim())
    counted = torch.floor(phase + intensity * step)
    return (counted[1:] > counted[:-1]).to(intensity.dtype)


def shifted(images, largest, generator):
    """Images shifted by up to `largest` pixels along both axes, zeros coming in."""
    if largest == 0:
        return images
    n, height, width = images.shape[:3]
    around = (0, 0) * (images.dim() - 3) + (largest,) * 4  # channels come last
    padded = torch.nn.functional.pad(images, around)
    dy, dx = torch.randint(0, 2 * largest + 1, (2, n, 1, 1), generator=generator)
    rows = dy + torch.arange(height).view(1, -1, 1)
    columns = dx + torch.arange(width).view(1, 1, -1)
    return padded[torch.arange(n).view(-1, 1, 1), rows, columns]


def late(spikes):
    """Spikes as the next layer sees them one step later, shape (steps, ...)."""
    arrived = torch.zeros_like(spikes)
    arrived[1:] = spikes[:-1]
    return arrived


class Network:
    """What all methods share: constants, forward weights, encoding, decision.

    Parameters
    ----------
    constants : dict
    seed : int
    connected : list of Tensor of bool
        Which cells of each layer reach which of the next one, (n_pre, n_post), as far as not all
        reach all. Other weights are 0 and stay so.
    """

    delayed = False  # spikes take one step from layer to layer

    def __init__(self, constants, seed, connected):
        self.constants = constants
        self.generator = torch.Generator().manual_seed(seed)
        *sizes, self.n_concepts = constants["layers"]
        self.cells = constants["cells_per_concept"]
        self.sizes = [*sizes, self.n_concepts * self.cells]
        self.steps = constants["steps"]
        self.codes = torch.tensor(constants["codes"], dtype=torch.get_default_dtype())
        # a code is read by the backward network, not read out
        last = None if constants["autoencoder"] else len(self.sizes) - 2
        self.forward_weights = [
            self.random_weights(pre, post, "init_gain_readout" if i == last else "init_gain")
            for i, (pre, post) in enumerate(itertools.pairwise(self.sizes))
        ]
        self.connected = [torch.ones_like(w) for w in self.forward_weights]
        for own, given in zip(self.connected, connected, strict=False):
            own.copy_(given)
        for w, own in zip(self.forward_weights, self.connected, strict=True):
            w *= own * (len(own) / own.sum(0).clamp(min=1)).sqrt()

    @torch.no_grad()
    def keep_fields(self):
        """Weights outside the receptive fields are 0."""
        for w, own in zip(self.forward_weights, self.connected, strict=True):
            w.mul_(own)

    def random_weights(self, n_pre, n_post, gain):
        """Normal weights of SD gain / sqrt(n_pre)."""
        weights = torch.randn(n_pre, n_post, generator=self.generator)
        return weights * self.constants[gain] / math.sqrt(n_pre)

    def random_backward_weights(self):
        """Those of the backward network, from the bottom up."""
        return [
            self.random_weights(post, pre, "init_gain_readout" if i == 0 else "init_gain")
            for i, (pre, post) in enumerate(itertools.pairwise(self.sizes))
        ]

    def optimise(self, weights, learning_rate):
        """Let `descend` change these weights, by Adam."""
        for w in weights:
            w.requires_grad_()
        self.optimiser = torch.optim.Adam(weights, lr=learning_rate)

    def descend(self, loss):
        """One step of the optimiser."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def fire(self, drive):
        """Spikes of leaky integrate-and-fire cells, shape (steps, batch, cells)."""
        leak, threshold = self.constants["leak"], self.constants["threshold"]
        spikes = []
        potential = torch.zeros_like(drive[0])
        for step in drive.unbind():
            potential = leak * potential + step
            spike = SurrogateSpike.apply(potential - threshold)
            potential = potential * (1 - spike.detach())
            spikes.append(spike)
        return torch.stack(spikes)

    def layer(self, spikes, weights, feedback=None):
        """Spikes and basal drive of the next layer."""
        flat = spikes.flatten(0, 1)
        drive = flat @ weights if feedback is None else FeedbackLinear.apply(
            flat, weights, feedback
        )
        drive = drive.view(self.steps, -1, weights.shape[1])
        return self.fire(drive), drive

    def logits(self, drive):
        """Evidence for each concept in the output cells' basal drive, shape (batch, concepts)."""
        return GAIN * (drive.mean(0) @ self.codes.T) / math.sqrt(self.cells)

    def score(self, images, labels, **disturbed):
        """Shares of right decisions by the output's spikes and by its drive."""
        return [
            (found == labels).float().mean().item() for found in self.percepts(images, **disturbed)
        ]

    @torch.no_grad()
    def percepts(self, images, loss=0.0, weight_noise=0.0):
        """Concept of each image by the output's spikes, -1 for a tie or silence, and by its drive.

        Parameters
        ----------
        images : Tensor, shape (n, pixels)
        loss : float
            Probability that a spike of a stimulus cell is lost.
        weight_noise : float
            SD of the noise added to each weight, in units of the SD of its matrix, both where
            there are synapses.
        """
        weights = self.forward_weights
        if weight_noise:
            noise = [c * torch.randn(c.shape, generator=self.generator) for c in self.connected]
            weights = [
                w + weight_noise * w[c > 0].std() * n
                for w, c, n in zip(weights, self.connected, noise, strict=True)
            ]
        by_spikes, by_drive = [], []
        for start in range(0, len(images), 500):
            spikes = encode(images[start : start + 500], self.steps, self.generator)
            if loss:
                spikes = spikes * (torch.rand(spikes.shape, generator=self.generator) >= loss)
            for w in weights:
                if self.delayed and w is not weights[0]:
                    spikes = late(spikes)
                spikes, drive = self.layer(spikes, w)
            # the codes have one norm, so the largest overlap is the largest cosine
            overlap = (spikes.sum(0) @ self.codes.T).round(decimals=3)
            best, which = overlap.topk(2, dim=1)
            which[best[:, 0] == best[:, 1]] = -1
            by_spikes.append(which[:, 0])
            by_drive.append(self.logits(drive).argmax(1))
        return torch.cat(by_spikes), torch.cat(by_drive)


class Backpropagation(Network):
    """Cross-entropy on the output's mean drive per concept, through time and layers.

    Parameters
    ----------
    variant : {'bp', 'feedback_alignment', 'frozen'}
    """

    def __init__(self, constants, seed, connected, learning_rate, variant):
        super().__init__(constants, seed, connected)
        self.feedback = [None] * len(self.forward_weights)
        if variant == "feedback_alignment":
            self.feedback = [torch.empty_like(w) for w in self.forward_weights]
            for b in self.feedback:
                b.normal_(generator=self.generator).div_(math.sqrt(b.shape[0]))
        trained = self.forward_weights[-1:] if variant == "frozen" else self.forward_weights
        self.optimise(trained, learning_rate)

    def learn(self, images, labels):
        """One step of the optimiser; returns how many of the batch were right."""
        spikes = encode(images, self.steps, self.generator)
        for w, b in zip(self.forward_weights, self.feedback, strict=True):
            spikes, drive = self.layer(spikes, w, b)
        logits = self.logits(drive)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        self.descend(loss)
        self.keep_fields()
        return (logits.argmax(1) == labels).sum().item()


class Autoencoder(Network):
    """Mean squared error between the rates of stimulus and bottom, through time and layers.

    Parameters
    ----------
    asymmetry : float
        Where the stimulus has the higher rate, errors weigh 1 + asymmetry, else 1 - asymmetry.
    """

    def __init__(self, constants, seed, connected, learning_rate, asymmetry=0.0):
        super().__init__(constants, seed, connected)
        self.asymmetry = asymmetry
        self.backward_weights = self.random_backward_weights()
        self.optimise(self.forward_weights + self.backward_weights, learning_rate)

    def encode(self, spikes):
        """Spikes of the code cells, from those of the stimulus."""
        for w in self.forward_weights:
            spikes, _ = self.layer(spikes, w)
        return spikes

    def decode(self, spikes):
        """Rates of the bottom, from the spikes of the code."""
        for w in reversed(self.backward_weights):
            spikes, _ = self.layer(spikes, w)
        return spikes.mean(0)

    def learn(self, images, labels):
        """One step of the optimiser; returns minus the weighted squared errors of the batch."""
        spikes = encode(images, self.steps, self.generator)
        missing = spikes.mean(0) - self.decode(self.encode(spikes))
        loss = (missing.square() * (1 + self.asymmetry * missing.sign())).mean()
        self.descend(loss)
        self.keep_fields()
        return -loss.item() * len(images)

    @torch.no_grad()
    def passed(self, images):
        """Codes and reconstructions of images."""
        codes, found = [], []
        for some in images.split(500):
            spikes = self.encode(encode(some, self.steps, self.generator))
            codes.append(spikes.mean(0))
            found.append(self.decode(spikes))
        return torch.cat(codes), torch.cat(found)

    def score(self, images, labels):
        """Minus the mean squared error, by spikes; there is no other."""
        return [-(self.passed(images)[1] - images).square().mean().item(), math.nan]

    @torch.no_grad()
    def sampled(self, codes, n):
        """Images of codes from the Gaussian with the mean and covariance of given ones."""
        values, vectors = torch.linalg.eigh(torch.cov(codes.T))
        normal = torch.randn(n, codes.shape[1], generator=self.generator)
        drawn = codes.mean(0) + (normal * values.clamp(min=0).sqrt()) @ vectors.T
        spikes = [encode(c, self.steps, self.generator) for c in drawn.clamp(0, 1).split(500)]
        return torch.cat([self.decode(s) for s in spikes])


def classifier(n_concepts, side):
    """A small convolutional classifier; all but its last layer give the features."""
    quarter = side // 2 // 2
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(32 * quarter**2, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, n_concepts),
    )


class Recurrent(Network):
    """Backpropagation through the recurrent network, truncated at the present presentation.

    Context cells repeat the first layer's rates of the presentations before, as in `bsd`; what
    they repeat is an input. Segments of the sequence run side by side as a batch.

    Parameters
    ----------
    loss : {'value', 'code', 'symbol'}
        Squared error of the population read-out, of the output's rates, or cross-entropy.
    values : Tensor, shape (n_concepts,), or None
    """

    def __init__(self, constants, seed, connected, learning_rate, loss, values):
        super().__init__(constants, seed, connected)
        self.n_context, self.loss, self.values = constants["context"], loss, values
        n_stimulus = self.sizes[0] - self.n_context
        first = self.forward_weights[0]
        first[:n_stimulus] *= math.sqrt(self.sizes[0] / n_stimulus)
        gain = constants["init_gain_context"] / constants["init_gain"]
        first[n_stimulus:] *= gain * math.sqrt(self.sizes[0] / max(self.n_context, 1))
        self.optimise(self.forward_weights, learning_rate)

    def present(self, stimuli, context):
        """The context that follows, rates of the output and its basal drive."""
        spikes = encode(torch.cat([stimuli, context], 1), self.steps, self.generator)
        first = None
        for w in self.forward_weights:
            spikes, drive = self.layer(spikes, w)
            first = spikes.mean(0).detach() if first is None else first
        context = torch.cat([first, context], 1)[:, : self.n_context]
        return context, spikes.mean(0), drive

    def correction(self, rates):
        """Population read-out of a forecast."""
        evidence = rates @ self.codes.T
        return (evidence @ self.values) / (evidence.sum(1) + 1e-3)

    def fit(self, stimuli, concepts, context):
        """One step of the optimiser on one presentation of each segment; the new context."""
        context, rates, drive = self.present(stimuli, context)
        if self.loss == "symbol":
            loss = torch.nn.functional.cross_entropy(self.logits(drive), concepts)
        elif self.loss == "code":
            loss = (rates - self.codes[concepts]).square().sum(1).mean()
        else:
            loss = (self.correction(rates) - self.values[concepts]).square().mean()
        self.descend(loss)
        return context

    @torch.no_grad()
    def error(self, patterns, which, asked, streams=16):
        """Mean squared error of a forecast, or share of wrong symbols."""
        length = len(which) // streams
        which = which[: streams * length].view(streams, length)
        asked = asked[: streams * length].view(streams, length)
        context, wrong = torch.zeros(streams, self.n_context), 0.0
        for k in range(length):
            context, rates, drive = self.present(patterns[which[:, k]], context)
            if self.loss == "symbol":
                miss = (self.logits(drive).argmax(1) != asked[:, k]).float()
            else:
                miss = (self.correction(rates) - asked[:, k]).square()
            wrong += miss.sum().item()
        return wrong / (streams * length)


class BatchDistillation(Network):
    """Both networks, every layer detached, ReCo over the batch (BSD paper, section 3).

    Features are trial means of the spikes, negatives of the same concept are left out and the
    others averaged, as in `bsd`; output and recalled stimulus learn by their squared error.
    Backward weights reach all cells, whatever the receptive fields.
    """

    def __init__(self, constants, seed, connected, learning_rate):
        super().__init__(constants, seed, connected)
        self.backward_weights = self.random_backward_weights()
        self.optimise(self.forward_weights + self.backward_weights, learning_rate)

    def recontrast(self, own, partner, other):
        """ReCo loss of one population; `other` marks pairs of trials of different concepts."""
        eps = self.constants["eps"]
        own = own / (own.square().sum(1, keepdim=True) + eps**2).sqrt()
        partner = partner / (partner.square().sum(1, keepdim=True) + eps**2).sqrt()
        cosine = own @ partner.T
        negative = torch.relu(cosine).square() * other
        return (
            (1 - cosine.diagonal()).square().sum()
            + self.constants["lam"] * (negative.sum(1) / other.sum(1).clamp(min=1)).sum()
        ) / len(own)

    def learn(self, images, labels):
        """One step of the optimiser; returns how many of the batch were right."""
        spikes = encode(images, self.steps, self.generator)
        concepts = self.codes[labels]
        up, down = [], []
        forward, backward = spikes, encode(concepts, self.steps, self.generator)
        for w in self.forward_weights:
            forward, _ = self.layer(forward.detach(), w)
            up.append(forward.mean(0))
        for w in reversed(self.backward_weights):
            backward, _ = self.layer(backward.detach(), w)
            down.append(backward.mean(0))
        *hidden_up, output = up
        *hidden_down, recalled = down
        other = (labels[:, None] != labels[None, :]).to(output.dtype)
        loss = (output - concepts).square().sum(1).mean()
        loss = loss + (recalled - spikes.mean(0)).square().sum(1).mean()
        for one, two in zip(hidden_up, reversed(hidden_down), strict=True):
            loss = loss + self.recontrast(one, two.detach(), other)
            loss = loss + self.recontrast(two, one.detach(), other)
        self.descend(loss)
        self.keep_fields()
        return ((output @ self.codes.T).argmax(1) == labels).sum().item()


class Streaming(Network):
    """The streaming rule of `bsd`, one trial at a time: all stimulus cells reach all of layer 1,
    all memories repel, no homeostasis, no asymmetry of the recalled stimulus.

    Weights stand still within a trial and spikes take one step from layer to layer, so each
    layer's drive of all steps is one matrix product, and two populations that are as far from
    their input are advanced together.
    """

    delayed = True

    def __init__(self, constants, seed, connected):
        super().__init__(constants, seed, connected)
        c = constants
        self.backward_weights = self.random_backward_weights()
        hidden = self.sizes[1:-1]
        self.memories = {
            side: [torch.zeros(c["memory_slots"], n) for n in hidden] for side in "FB"
        }
        self.slot = 0
        j = torch.arange(self.cells)
        self.bias = (c["diversity"] * ((2 * j + 1) / self.cells - 1)).repeat(self.n_concepts)

    @torch.no_grad()
    def trial(self, stimulus, concept):
        """One training trial.

        Parameters
        ----------
        stimulus : Tensor, shape (steps, pixels)
            Spikes.
        concept : Tensor, shape (steps, output cells)
            Spikes.

        Returns
        -------
        Tensor, shape (output cells,)
            Spike counts of the output.
        """
        c = self.constants
        rates = {"F": [stimulus.mean(0)], "B": [concept.mean(0)]}
        slopes = {"F": [None], "B": [None]}
        before = {"F": stimulus, "B": concept}
        pairs = zip(self.forward_weights, reversed(self.backward_weights), strict=True)
        for up, down in pairs:
            potential = torch.cat([before["F"] @ up, before["B"] @ down], dim=1)
            reset = torch.zeros_like(potential[0])
            for step in potential.unbind():
                step.add_(reset, alpha=c["leak"])
                reset = step.masked_fill(step > c["threshold"], 0)
            distance = potential - c["threshold"]
            spikes = (distance > 0).to(potential.dtype)
            slope = distance.mul_(math.pi).square_().add_(1).reciprocal_().mean(0)
            arrived = late(spikes)
            n = up.shape[1]
            for side, part in (("F", slice(n)), ("B", slice(n, None))):
                rates[side].append(spikes[:, part].mean(0))
                slopes[side].append(slope[part])
                before[side] = arrived[:, part]
        depth = len(self.sizes) - 2
        for side, partner, eta in (("F", "B", c["eta"]), ("B", "F", c["eta_feedback"])):
            weights = self.forward_weights if side == "F" else self.backward_weights[::-1]
            for i in range(1, depth + 1):
                memory = self.memories[side][i - 1 if side == "F" else depth - i]
                error = self.reco(rates[side][i], rates[partner][depth + 1 - i], memory)
                self.change(weights[i - 1], rates[side][i - 1], eta * slopes[side][i] * error)
        missing = rates["B"][0] - rates["F"][-1]
        error = slopes["F"][-1] * missing * (1 + self.bias * missing.sign())
        self.change(self.forward_weights[-1], rates["F"][-2], c["eta_top"] * error)
        error = slopes["B"][-1] * (rates["F"][0] - rates["B"][-1])
        self.change(self.backward_weights[0], rates["B"][-2], c["eta_bottom"] * error)
        self.slot = (self.slot + 1) % c["memory_slots"]
        return rates["F"][-1] * self.steps

    def reco(self, own, partner, memory):
        """The local error without its slope; the oldest memory takes the partner's pattern."""
        c = self.constants
        h = own / (own @ own + c["eps"] ** 2).sqrt()
        h_partner = partner / (partner @ partner + c["eps"] ** 2).sqrt()
        cosine = h @ h_partner
        response = (memory @ h).clamp_(min=0)
        strongest = response.pow(9).sum() / (response.pow(8).sum() + 1e-12)
        gate = ((c["margin"] - cosine + strongest) / c["margin"]).clamp(0, 2)
        inhibition = response @ memory - (response @ response) * h
        error = 2 * (1 - cosine) * (h_partner - cosine * h)
        error -= 2 * c["lam"] / c["memory_slots"] * inhibition
        memory[self.slot] = h_partner
        return gate * error

    def change(self, weights, rate, teach):
        """Change the synapses of the cells that fired, within their bounds."""
        bound = self.constants["weight_max"]
        fired = rate.nonzero().squeeze(1)
        rows = weights.index_select(0, fired).addr_(rate[fired], teach).clamp_(-bound, bound)
        weights.index_copy_(0, fired, rows)

    def learn(self, images, labels):
        """Train on images one by one; returns how many were right."""
        right = 0
        for image, label in zip(images, labels.tolist(), strict=True):
            concept = encode(self.codes[label], self.steps, self.generator)
            counts = self.trial(encode(image, self.steps, self.generator), concept)
            best, which = (self.codes @ counts).round(decimals=3).topk(2)
            right += int(best[0] > best[1] and which[0] == label)
        return right


def make(method, constants, seed, connected, learning_rate):
    """The network of a method."""
    if method == "streaming":
        return Streaming(constants, seed, connected)
    if method == "batch_bsd":
        return BatchDistillation(constants, seed, connected, learning_rate)
    if constants["autoencoder"]:
        asymmetry = constants["bottom_asymmetry"] if method == "bp_asymmetric" else 0.0
        return Autoencoder(constants, seed, connected, learning_rate, asymmetry)
    return Backpropagation(constants, seed, connected, learning_rate, method)


def disturb(images, kind, level, generator):
    """Stimuli with noise of an SD, or with a share of their pixels dark, in all colours alike."""
    if kind == "noise":
        noise = torch.randn(images.shape, generator=generator)
        return (images + level * noise).clamp(0, 1)
    if kind == "occlusion":
        places = torch.rand(images.shape[:3], generator=generator)
        rank = places.flatten(1).argsort(1).argsort(1)
        seen = (rank >= round(level * rank.shape[1])).view(places.shape)
        return images * seen.view(*seen.shape, *[1] * (images.dim() - 3))
    return images


def train(network, train_part, test_part, epochs, shift, say):
    """Train for some epochs, the learning rate falling along half a cosine.

    Returns
    -------
    dict
        Lists ``test_accuracy``, ``test_accuracy_drive`` and ``train_accuracy`` by epoch.
    """
    (images, labels), (test_images, test_labels) = train_part, test_part
    optimiser = getattr(network, "optimiser", None)
    schedule = None
    if optimiser:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, epochs * math.ceil(len(images) / BATCH)
        )
    result = {"test_accuracy": [], "test_accuracy_drive": [], "train_accuracy": []}
    for epoch in range(epochs):
        right = 0
        order = torch.randperm(len(images), generator=network.generator)
        for rows in order.split(BATCH):
            batch = shifted(images[rows], shift, network.generator).flatten(1)
            right += network.learn(batch, labels[rows])
            if schedule:
                schedule.step()
        result["train_accuracy"].append(right / len(images))
        by_spikes, by_drive = network.score(test_images.flatten(1), test_labels)
        result["test_accuracy"].append(by_spikes)
        result["test_accuracy_drive"].append(by_drive)
        say({"epoch": epoch + 1, "epochs": epochs, "accuracy": by_spikes})
    return result


def _connections(arrays):
    """Matrices ``connected_0`` .. of a file."""
    names = sorted((n for n in arrays if n.startswith("connected_")), key=lambda n: int(n[10:]))
    return [torch.from_numpy(arrays[name]) for name in names]


class Server:
    """Answers requests; keeps data, the networks whose speed is measured, and the classifier."""

    def __init__(self, say):
        self.say = say
        self.loaded = {}
        self.networks = {}
        self.judge = None

    def data(self, path):
        """Training and test part, each images and labels; connections of the first layer."""
        if path not in self.loaded:
            with np.load(path) as arrays:
                self.loaded[path] = [
                    (torch.from_numpy(arrays[f"x_{part}"]), torch.from_numpy(arrays[f"y_{part}"]))
                    for part in ("train", "test")
                ] + [_connections(arrays)]
        return self.loaded[path]

    def answer(self, request):
        """The answer to one request, a dict."""
        return getattr(self, f"task_{request['task']}")(request)

    def task_speed(self, request):
        """Milliseconds per training trial, encoding included."""
        (images, labels), _, connected = self.data(request["data"])
        method, n = request["method"], request["trials"]
        key = method, json.dumps(request["network"], sort_keys=True)
        if key not in self.networks:
            self.networks[key] = make(method, request["network"], request["seed"], connected, 1e-3)
        network = self.networks[key]
        batch = 1 if method == "streaming" else BATCH
        rows = torch.randint(0, len(images), (n,), generator=network.generator)
        flat = images.flatten(1)
        start = time.perf_counter()
        for one in rows.split(batch):
            network.learn(flat[one], labels[one])
        return {"ms_per_trial": 1e3 * (time.perf_counter() - start) / n}

    def task_search(self, request):
        """The learning rate with the best validation accuracy."""
        (images, labels), _, connected = self.data(request["data"])
        n = len(images) - request["validation"]
        found = {}
        for rate in request["grid"]:
            network = make(
                request["method"], request["network"], request["seed"], connected, rate
            )
            result = train(
                network, (images[:n], labels[:n]), (images[n:], labels[n:]), request["epochs"],
                request["shift"], self.say,
            )
            found[rate] = result["test_accuracy"][-1]
        return {"learning_rate": max(found, key=found.get), "validation_accuracy": found}

    def task_sequence(self, request):
        """Error of the test part of a sequence after each epoch."""
        with np.load(request["data"]) as arrays:
            data = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        real = torch.get_default_dtype()
        patterns, which = data["patterns"].to(real), data["which_train"]
        values = data["values"].to(real) if "values" in data else None
        asked = data["correction_test"].to(real) if "values" in data else data["y_test"]
        network = Recurrent(
            request["network"], request["seed"], [data["connected_0"]], request["learning_rate"],
            request["loss"], values,
        )
        length, errors = request["segment"], []
        starts = torch.arange(0, len(which) - length + 1, length)
        batches = math.ceil(len(starts) / SEGMENTS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            network.optimiser, request["epochs"] * batches
        )
        for epoch in range(request["epochs"]):
            order = starts[torch.randperm(len(starts), generator=network.generator)]
            for rows in order.split(SEGMENTS):
                context = torch.zeros(len(rows), network.n_context)
                for k in range(length):
                    at = rows + k
                    context = network.fit(patterns[which[at]], data["y_train"][at], context)
                schedule.step()
            errors.append(network.error(patterns, data["which_test"], asked))
            self.say({"epoch": epoch + 1, "epochs": request["epochs"], "error": errors[-1]})
        return {"error": errors}

    def task_train(self, request):
        """Accuracy by epoch, and under perturbations at the end."""
        train_part, test_part, connected = self.data(request["data"])
        network = make(
            request["method"], request["network"], request["seed"], connected,
            request.get("learning_rate"),
        )
        result = train(
            network, train_part, test_part, request["epochs"], request["shift"], self.say
        )
        images, labels = test_part
        result["perturbed"] = []
        for kind, level in request.get("perturbations", []):
            stimuli = disturb(images, kind, level, network.generator).flatten(1)
            passed = {kind: level} if kind in ("loss", "weight_noise") else {}
            by_spikes, _ = network.score(stimuli, labels, **passed)
            result["perturbed"].append([kind, level, by_spikes])
        if "generated" in request:
            codes, _ = network.passed(train_part[0][: request["fitted"]].flatten(1))
            flat = {
                "reconstructed": network.passed(images.flatten(1))[1],
                "sampled": network.sampled(codes, len(images)),
            }
            found = {name: some.view(images.shape).numpy() for name, some in flat.items()}
            np.savez(f"{request['generated']}/{request['method']}.npz", **found)
        return result

    def task_features(self, request):
        """Features of images in a classifier that is trained at the first request."""
        train_part, (images, labels), _ = self.data(request["data"])
        if self.judge is None:
            self.judge = self.train_classifier(*train_part, request["seed"])
        with torch.no_grad(), np.load(request["images"]) as arrays:
            guessed = [self.judge(some[:, None]).argmax(1) for some in images.split(500)]
            right = (torch.cat(guessed) == labels).float().mean().item()
            found = {
                name: torch.cat([
                    self.judge[:-1](some[:, None])
                    for some in torch.from_numpy(arrays[name]).float().split(500)
                ]).numpy()
                for name in arrays.files
            }
        np.savez(request["features"], **found)
        return {"accuracy": right}

    def train_classifier(self, images, labels, seed, epochs=3):
        """Cross-entropy, Adam, batches of 128."""
        torch.manual_seed(seed)
        network = classifier(int(labels.max()) + 1, images.shape[1])
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        for epoch in range(epochs):
            for rows in torch.randperm(len(images)).split(BATCH):
                loss = torch.nn.functional.cross_entropy(
                    network(images[rows, None]), labels[rows]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self.say({"epoch": epoch + 1, "epochs": epochs, "loss": loss.item()})
        return network


def main():
    """Answer requests until standard input ends."""
    torch.set_num_threads(1)

    def say(message):
        print(json.dumps(message), flush=True)

    server = Server(lambda progress: say({"progress": progress}))
    say({"torch": torch.__version__})
    for line in sys.stdin:
        say({"result": server.answer(json.loads(line))})


if __name__ == "__main__":
    main()
