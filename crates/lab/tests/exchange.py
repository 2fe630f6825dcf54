"""Reads measurements, one a line, with OONI's own packages, and says of each what they understood.

`oonidata` (PyPI) has OONI's models of measurements: each line must become one, and every value that the model
has must be the one that was written. `oonipipeline` is not on PyPI; where its source is importable, its
transformers make observations too. One JSON object a line goes out: the model's name, the number of records of
each kind, the number of observations (null without the pipeline), and the paths whose values differ.
"""

import json
import sys

from oonidata.dataclient import load_measurement

try:
    from oonipipeline.transforms.observations import measurement_to_observations
except ImportError:
    measurement_to_observations = None

RECORDS = ["queries", "tcp_connect", "tls_handshakes", "network_events", "requests"]


class Nowhere:
    """A table of networks that knows no address: what the transformers ask for and this test has not."""

    class Info:
        as_info = None
        cc = "ZZ"
        ip = prefix = as_org_name = as_cc = as_name = ""
        asn = 0

    def lookup_ip(self, when, ip):
        return None

    def lookup_asn(self, when, asn):
        return None


def count(keys):
    found = {name: len(getattr(keys, name, None) or []) for name in RECORDS}
    for target in (getattr(keys, "targets", None) or {}).values():
        for name, number in count(target).items():
            found[name] += number
    return found


def differences(model, written, path="$"):
    if isinstance(model, dict) and isinstance(written, dict):
        for key, value in model.items():
            if key in written:
                yield from differences(value, written[key], f"{path}.{key}")
    elif isinstance(model, list) and isinstance(written, list):
        if len(model) != len(written):
            yield path
        for index, (one, other) in enumerate(zip(model, written)):
            yield from differences(one, other, f"{path}[{index}]")
    elif path.endswith(".transaction_id") and model == str(written):
        pass  # oonidata 0.3.0 declares that of network events as text; df-008 and OONI's probe have numbers
    elif model != written:
        yield path


for line in sys.stdin:
    written = json.loads(line)
    measurement = load_measurement(written)
    observations = None
    if measurement_to_observations is not None:
        measurement.measurement_uid = "20260320100000.000000_RU_test_0000000000000000"
        observations = sum(map(len, measurement_to_observations(measurement, Nowhere())))
    print(
        json.dumps(
            {
                "test_name": measurement.test_name,
                "model": type(measurement).__name__,
                "counts": count(measurement.test_keys),
                "observations": observations,
                "differences": list(differences(measurement.to_dict(), written))[:10],
            }
        )
    )
