"""Stands in for rules_python where nothing can be downloaded.

A program is a shell script that runs its main file as a module in its runfiles, so that it sees the files of its declared
dependencies and no others of the checkout; third-party packages come from the Python named by the variable PYTHON.
"""

def _runfiles(ctx):
    runfiles = ctx.runfiles(files = ctx.files.srcs + ctx.files.data)
    for dependency in ctx.attr.deps + ctx.attr.data:
        runfiles = runfiles.merge(dependency[DefaultInfo].default_runfiles)
    return runfiles

def _library(ctx):
    return [DefaultInfo(files = depset(ctx.files.srcs), runfiles = _runfiles(ctx))]

def _program(ctx):
    main = ctx.file.main or ctx.files.srcs[0]
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(
        script,
        """#!/bin/sh
cd "$0.runfiles/{workspace}" && exec "${{PYTHON:-python3}}" -B -m {module} "$@"
""".format(
            module = main.short_path[:-len(".py")].replace("/", "."),
            workspace = ctx.workspace_name,
        ),
        is_executable = True,
    )
    return [DefaultInfo(executable = script, files = depset([script]), runfiles = _runfiles(ctx))]

_ATTRIBUTES = {
    "data": attr.label_list(allow_files = True),
    "deps": attr.label_list(),
    "srcs": attr.label_list(allow_files = [".py"]),
}

_PROGRAM_ATTRIBUTES = dict(_ATTRIBUTES, main = attr.label(allow_single_file = [".py"]))

py_library = rule(implementation = _library, attrs = _ATTRIBUTES)

py_binary = rule(implementation = _program, attrs = _PROGRAM_ATTRIBUTES, executable = True)

py_test = rule(implementation = _program, attrs = _PROGRAM_ATTRIBUTES, test = True)
