"""GAIL on hopper by the `imitation` library, timed round by round; run by benchmarks/peers.py, with a Python that has
what benchmarks/peers-imitation-requirements.txt lists.

Prints a JSON list: steps per second of every round after the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time

import numpy as np
import torch
from imitation.algorithms.adversarial.gail import GAIL
from imitation.data.types import Transitions
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.logger import configure
from imitation.util.networks import RunningNorm
from imitation.util.util import make_vec_env
from sb3_contrib import TRPO
from stable_baselines3 import PPO


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learner", choices=("trpo", "ppo"), required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True, help="pairs per round with TRPO")
    parser.add_argument("--demonstrations", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    with np.load(arguments.demonstrations) as pairs:
        observations, actions = pairs["observations"], pairs["actions"]
    demonstrations = Transitions(
        obs=observations,
        acts=actions,
        next_obs=observations,  # the reward network looks at observations and actions only
        dones=np.zeros(len(observations), dtype=bool),
        infos=np.array([{}] * len(observations)),
    )
    trpo = arguments.learner == "trpo"
    copies = 50 if trpo else 8
    environments = make_vec_env("Hopper-v4", rng=np.random.default_rng(0), n_envs=copies, parallel=False)
    network = {"net_arch": [100, 100], "activation_fn": torch.nn.Tanh}
    if trpo:
        # gailbench's settings where TRPO has them.
        learner = TRPO(
            "MlpPolicy",
            environments,
            n_steps=arguments.batch // copies,
            gamma=0.995,
            gae_lambda=0.97,
            cg_max_steps=10,
            sub_sampling_factor=10,
            policy_kwargs=network,
            seed=0,
        )
    else:
        learner = PPO("MlpPolicy", environments, policy_kwargs=network, seed=0)  # its own settings
    pairs_per_round = copies * learner.n_steps
    trainer = GAIL(
        demonstrations=demonstrations,
        demo_batch_size=len(demonstrations),
        n_disc_updates_per_round=1,
        gen_replay_buffer_capacity=pairs_per_round,
        venv=environments,
        gen_algo=learner,
        reward_net=BasicRewardNet(
            environments.observation_space,
            environments.action_space,
            hid_sizes=(100, 100),
            activation=torch.nn.Tanh,
            normalize_input_layer=RunningNorm,
        ),
        allow_variable_horizon=True,
        custom_logger=configure(tempfile.mkdtemp(), []),
    )
    moments = [time.perf_counter()]
    trainer.train(arguments.rounds * pairs_per_round, callback=lambda _: moments.append(time.perf_counter()))
    print(json.dumps([pairs_per_round / seconds for seconds in np.diff(moments)[1:].tolist()]))


if __name__ == "__main__":
    main()
