"""What LightGBM reaches on Taobao with counts made by hand, all items ranked: beside `experiments/taobao.toml`.

python experiments/taobao_lightgbm.py ../shared/data/taobao      (extra `experiments`; one core: 2 minutes)

It learns which of the things that a user viewed or put in the cart is their last purchase but one, from everybody's
purchases before that, and ranks those of the last purchase from all purchases before that. It ranks nothing that the
user did not look at, and nothing bought before; what is left comes after these, which costs no hit. So it is trained on
validation, too, as `train --include_validation`.
"""

import sys
from typing import NamedTuple

import lightgbm
import numpy as np
import polars as pl
import scipy.sparse

RANKED = 10
PARAMETERS = {
    **{"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 200},
    **{"feature_fraction": 0.8, "verbose": -1, "seed": 1, "deterministic": True},
}
NAMES = [
    *("viewed", "in the cart", "views", "carts", "purchases", "rate of views", "rate of carts", "things viewed"),
    *("bought with own purchases", "with the nearest of them", "viewed with own purchases", "with the nearest of them"),
    *("rate given what was viewed", "its mean logarithm", "viewed with what was viewed", "with the nearest of it"),
]


class Logs(NamedTuple):
    """0 or 1 for each user and item, and each user's purchases in time order."""

    viewed: scipy.sparse.csr_matrix
    in_cart: scipy.sparse.csr_matrix
    purchases: list[np.ndarray]


def read_logs(folder: str) -> Logs:
    """Reads the log of views, carts and purchases."""
    logs = {name: pl.read_csv(f"{folder}/behaviors/{name}.csv.gz") for name in ("view", "cart", "buy")}
    together = pl.concat(logs.values())
    numbers = {
        column: pl.DataFrame({column: together[column].unique().sort()}).with_row_index(f"{column}_number")
        for column in ("user_id", "item_id")
    }
    for name, log in logs.items():
        for column, known in numbers.items():
            log = log.join(known, on=column)
        logs[name] = log.sort("user_id_number", "timestamp")
    shape = tuple(len(known) for known in numbers.values())
    of_users = logs["buy"].group_by("user_id_number", maintain_order=True).agg("item_id_number")
    purchases = [np.asarray(items) for items in of_users["item_id_number"].to_list()]
    return Logs(*(_matrix(logs[name], shape) for name in ("view", "cart")), purchases)


def _matrix(log: pl.DataFrame, shape: tuple[int, ...]) -> scipy.sparse.csr_matrix:
    places = log["user_id_number"].to_numpy(), log["item_id_number"].to_numpy()
    found = scipy.sparse.csr_matrix((np.ones(len(log), np.float32), places), shape)
    found.data[:] = 1
    return found


def candidates(logs: Logs, place: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Returns numbers, labels and list sizes for the purchase at a place of each user, -1 for the last."""
    before = [items[:place] for items in logs.purchases]
    users = np.repeat(np.arange(len(before)), [len(items) for items in before])
    shape = logs.viewed.shape
    bought = scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, np.concatenate(before))), shape)
    views, carts, purchases = (np.asarray(each.sum(axis=0)).ravel() for each in (logs.viewed, logs.in_cart, bought))
    led = logs.viewed.multiply(bought).tocsr()
    rate = (np.asarray(led.sum(axis=0)).ravel() + 1) / (views + 20)
    cart_rate = (np.asarray(logs.in_cart.multiply(bought).sum(axis=0)).ravel() + 1) / (carts + 4)
    both_bought, both_viewed = (bought.T @ bought).tocsr(), (logs.viewed.T @ logs.viewed).tocsr()
    for both in (both_bought, both_viewed):
        both.setdiag(0)
    viewed_then_bought = (logs.viewed.T @ led).tocsr()
    often_bought, often_viewed = np.sqrt(purchases + 5), np.sqrt(views + 5)
    numbers, labels, sizes = [], [], []
    for user, own in enumerate(before):
        seen, carted = logs.viewed[user].indices, logs.in_cart[user].indices
        items = np.setdiff1d(np.union1d(seen, carted), own)
        positive = items == logs.purchases[user][place]
        if not positive.any():
            continue
        found = np.zeros((len(items), len(NAMES)), np.float32)
        found[:, :2] = np.isin(items, seen)[:, np.newaxis] * [1, 0] + np.isin(items, carted)[:, np.newaxis] * [0, 1]
        found[:, 2:7] = np.stack([each[items] for each in (views, carts, purchases, rate, cart_rate)], axis=1)
        found[:, 7] = len(seen)
        if len(own):
            for column, both, often in ((8, both_bought, often_bought), (10, both_viewed, often_viewed)):
                near = both[items][:, own].toarray() / often[items][:, np.newaxis] / often[own]
                found[:, column], found[:, column + 1] = near.sum(axis=1), near.max(axis=1)
        if len(seen):
            with_seen = both_viewed[items][:, seen].toarray()
            given = viewed_then_bought[seen][:, items].toarray().T + 10 * rate[items][:, np.newaxis]
            given /= with_seen + 10
            near = with_seen / often_viewed[items][:, np.newaxis] / often_viewed[seen]
            found[:, 12], found[:, 13] = given.mean(axis=1), np.log(given).mean(axis=1)
            found[:, 14], found[:, 15] = near.mean(axis=1), near.max(axis=1)
        numbers.append(found)
        labels.append(positive)
        sizes.append(len(items))
    return np.concatenate(numbers), np.concatenate(labels), sizes


def main(folder: str) -> None:
    """Trains on the purchases but one before the last, and prints metrics of the last."""
    logs = read_logs(folder)
    known, chosen, sizes = candidates(logs, -2)
    asked, positive, of_lists = candidates(logs, -1)
    split = sum(sizes[: len(sizes) * 4 // 5])
    for title, columns in (("counts", list(range(8))), ("counts, and what goes together", list(range(len(NAMES))))):
        training = lightgbm.Dataset(known[:split, columns], chosen[:split])
        validation = lightgbm.Dataset(known[split:, columns], chosen[split:])
        stop = lightgbm.early_stopping(30, verbose=False)
        trees = lightgbm.train(PARAMETERS, training, 500, [validation], callbacks=[stop])
        ends = np.cumsum(of_lists)[:-1]
        lists = zip(np.split(trees.predict(asked[:, columns]), ends), np.split(positive, ends), strict=True)
        ranks = np.array(
            [(scores > scores[right]).sum() + ((scores == scores[right]).sum() - 1) / 2 for scores, right in lists]
        )
        hits = ranks[ranks < RANKED]
        users = len(logs.purchases)
        ndcg = (1 / np.log2(2 + hits)).sum() / users
        sys.stdout.write(f"{title}: {trees.best_iteration} trees, HR@10 {len(hits) / users:.4f}, NDCG@10 {ndcg:.4f}\n")


if __name__ == "__main__":
    main(sys.argv[1])
