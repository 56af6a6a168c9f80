"""What a source image's files hold, before it becomes a sample.

In: a `SourceImage`. Out: the bytes of its image (`input_file`), the sentences of its reports (`report_sentences`).
"""
