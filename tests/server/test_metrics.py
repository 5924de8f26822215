import re
from concurrent.futures import ThreadPoolExecutor

from atrank_tf.server.metrics import Counter, Histogram, Metrics


def test_a_counter():
    counter = Counter(":tensorflow:serving:request_count", "model_name", "status")
    counter.add("shop", "OK")
    counter.add("shop", "OK", by=2)
    counter.add('a"b\\c\n', "NOT_FOUND")
    assert counter.lines() == [
        "# TYPE :tensorflow:serving:request_count counter",
        ':tensorflow:serving:request_count{model_name="shop",status="OK"} 3',
        r':tensorflow:serving:request_count{model_name="a\"b\\c\n",status="NOT_FOUND"} 1',
    ]


def test_a_histogram_counts_all_that_is_below_a_limit():
    histogram = Histogram("h", "model", limits=[1.0, 2.5])
    for value in (0.5, 1.0, 2.0, 3.0, 4.0):
        histogram.add(value, "m")
    assert histogram.lines() == [
        "# TYPE h histogram",
        'h_bucket{model="m",le="1"} 2',
        'h_bucket{model="m",le="2.5"} 3',
        'h_bucket{model="m",le="+Inf"} 5',
        'h_sum{model="m"} 10.5',
        'h_count{model="m"} 5',
    ]


def test_the_page_has_tensorflow_servings_names_and_buckets():
    metrics = Metrics()
    names = [
        "model_warmup_latency",
        "request_count",
        "request_example_count_total",
        "request_example_counts",
        "request_latency",
        "runtime_latency",
    ]
    page = metrics.page({}).decode()
    assert re.findall(r"^# TYPE :tensorflow:serving:(\w+) (?:counter|histogram)$", page, re.MULTILINE) == names
    metrics.request_latency.add(12.0, "shop", "predict", "REST")
    metrics.request_example_counts.add(3, "shop")
    page = metrics.page({}).decode()
    latency = re.findall(r'request_latency_bucket\{model_name="shop",API="predict",entrypoint="REST",le="(.+)"\}', page)
    assert latency[:4] == ["10", "18", "32.4", "58.32"]
    assert latency[19] == "708235"
    assert latency[33:] == ["+Inf"]
    examples = re.findall(r'request_example_counts_bucket\{model="shop",le="(.+)"\} (\d+)', page)
    assert examples[:3] == [("1", "0"), ("2", "0"), ("4", "1")]
    assert examples[14:] == [("16384", "1"), ("+Inf", "1")]


def test_loads_have_tensorflows_names_and_a_model_its_version():
    metrics = Metrics()
    metrics.load_attempt_count.add("/m/1", "fail")
    metrics.load_latency.add("/m/2", by=7)
    page = metrics.page({"m": 2, "n": None}).decode().splitlines()
    assert ':tensorflow:cc:saved_model:load_attempt_count{model_path="/m/1",status="fail"} 1' in page
    assert ':tensorflow:cc:saved_model:load_latency{model_path="/m/2"} 7' in page
    assert page[-3:] == [
        "# TYPE :atrank:serving:model_version gauge",
        ':atrank:serving:model_version{model_name="m"} 2',
        ':atrank:serving:model_version{model_name="n"} 0',
    ]


def test_no_count_is_lost_between_threads():
    metrics = Metrics()

    def work(number):
        metrics.request_count.add("m", "OK")
        metrics.request_latency.add(number, "m", "predict", "REST")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2000)))
    page = metrics.page({}).decode()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 2000\n' in page
    assert ':tensorflow:serving:request_latency_count{model_name="m",API="predict",entrypoint="REST"} 2000\n' in page
