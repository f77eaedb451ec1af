"""GAIL on hopper by the parts and settings of TorchRL's GAIL recipe, timed round by round; run by
benchmarks/peers.py, with a Python that has what benchmarks/peers-torchrl-requirements.txt lists.

Prints a JSON list: steps per second of every round after the first.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement
from torchrl.envs import ClipTransform, Compose, DoubleToFloat, StepCounter, TransformedEnv, VecNorm
from torchrl.envs.libs.gym import GymEnv
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss, GAILLoss
from torchrl.objectives.value import GAE

FRAMES, MINIBATCH, EPOCHS, LEARNING_RATE = 2048, 64, 10, 3e-4


def environment() -> TransformedEnv:
    return TransformedEnv(
        GymEnv("Hopper-v4"),
        Compose(
            VecNorm(in_keys=["observation"], decay=0.99999, eps=1e-2),
            ClipTransform(in_keys=["observation"], low=-10, high=10),
            StepCounter(),
            DoubleToFloat(in_keys=["observation"]),
        ),
    )


class Discriminator(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.network = MLP(in_features=inputs, out_features=1, num_cells=[100, 100], activation_class=nn.Tanh)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.network(torch.cat([observation, action], dim=-1)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--demonstrations", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    with np.load(arguments.demonstrations) as pairs:
        expert = TensorDict(
            {name: torch.from_numpy(pairs[f"{name}s"].astype(np.float32)) for name in ("observation", "action")},
            [len(pairs["actions"])],
        )
    env = environment()
    states, actions = env.observation_spec["observation"].shape[-1], env.action_spec.shape[-1]
    network = {"num_cells": [100, 100], "activation_class": nn.Tanh}
    mean = MLP(in_features=states, out_features=actions, **network)
    actor = ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(mean, AddStateIndependentNormalScale(actions, scale_lb=1e-8)),
            in_keys=["observation"],
            out_keys=["loc", "scale"],
        ),
        in_keys=["loc", "scale"],
        spec=env.action_spec,
        distribution_class=TanhNormal,
        distribution_kwargs={"low": env.action_spec.space.low, "high": env.action_spec.space.high},
        return_log_prob=True,
    )
    critic = ValueOperator(MLP(in_features=states, out_features=1, **network), in_keys=["observation"])
    discriminator = TensorDictModule(
        Discriminator(states + actions), in_keys=["observation", "action"], out_keys=["d_logits"]
    )
    advantages = GAE(gamma=0.99, lmbda=0.95, value_network=critic, average_gae=False)
    policy_loss = ClipPPOLoss(
        actor,
        critic,
        clip_epsilon=0.2,
        entropy_coeff=0.0,
        critic_coeff=0.25,
        loss_critic_type="l2",
        normalize_advantage=True,
    )
    reward_loss = GAILLoss(discriminator, use_grad_penalty=True, gp_lambda=10.0)
    policy_optimizer = torch.optim.Adam(policy_loss.parameters(), lr=LEARNING_RATE, eps=1e-5)
    reward_optimizer = torch.optim.Adam(discriminator.parameters(), lr=LEARNING_RATE)
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(FRAMES), sampler=SamplerWithoutReplacement(), batch_size=MINIBATCH
    )
    collector = Collector(env, actor, frames_per_batch=FRAMES, total_frames=FRAMES * arguments.rounds)

    moments = [time.perf_counter()]
    for data in collector:
        both = expert.clone()
        both["collector_observation"] = data["observation"][: len(expert)]
        both["collector_action"] = data["action"][: len(expert)]
        reward_loss(both)["loss"].backward()
        reward_optimizer.step()
        reward_optimizer.zero_grad()
        with torch.no_grad():
            data["next", "reward"] = -torch.log(1 - discriminator(data)["d_logits"] + 1e-8)
        for _ in range(EPOCHS):
            with torch.no_grad():
                advantages(data)
            buffer.empty()
            buffer.extend(data.reshape(-1))
            for minibatch in buffer:
                losses = policy_loss(minibatch)
                policy_optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"]).backward()
                policy_optimizer.step()
        moments.append(time.perf_counter())
    collector.shutdown()
    print(json.dumps([FRAMES / seconds for seconds in np.diff(moments)[1:].tolist()]))


if __name__ == "__main__":
    main()
