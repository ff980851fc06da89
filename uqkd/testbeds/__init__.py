"""What several studies are built on: data as cells name them, teachers trained once in a process, options, tidy tables.

`cells` names data so that a study can be repeated, `classification` trains networks on them, `options` are what studies of
classifiers ask, `tables` are what they answer. Each is imported by itself: only `classification` needs torch.
"""
